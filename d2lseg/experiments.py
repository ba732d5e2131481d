"""The course's offline experiments: what is trained, for how long, and the tables that are kept.

``python -m d2lseg.experiments time`` measures what a step and an image cost, ``train`` trains every setup
with every seed (an hour or more; it resumes where it stopped), and ``score`` writes the tables in
``d2lseg/results`` that notebook 07 and the README show. ``compare`` trains what notebook 05 compares (10
minutes; it resumes too), and ``own-data`` what notebook 08 does (5 minutes).

Setups that are compared get the same time, but it is counted in steps, by the cost of a step on a quiet
machine. So a busy machine takes longer and gets the same scores.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from . import emojivoc, fcn, metrics, prediction, training, voc
from .classes import ClassList
from .datasets import convert
from .engine import files
from .engine.checkpoint import read as read_checkpoint
from .upsampling import BilinearUpsample

RESULTS = Path(__file__).resolve().parent / "results"
SEEDS = (0, 1, 2)
BATCH, CROP = 8, (160, 224)
BAND_WIDTHS = (1, 2, 3, 5, 8, 13)  # pixels on each side of a boundary
PICTURED = range(0, 25, 5)  # every fifth validation scene: not picked by hand


@dataclass(frozen=True)
class Setup:
    """One way to train.

    Parameters
    ----------
    steps : int
        Training steps of `BATCH` pictures.
    options : dict
        Arguments of `fcn.FCN`.
    """

    steps: int
    options: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Name what decides the cost of a step: the variant, and whether its upsampling is learned."""
        learned = self.options.get("upsampling", "bilinear") != "bilinear"
        return self.options["variant"] + (" learned" if learned else "")


# Steps that take the same time by the table "speed": a step of FCN-8s costs a little more than one of
# FCN-32s, one with the learned layer 1.5 times. The first budget is 900 steps of FCN-32s, the second three
# times as much.
SETUPS = {
    "8s": Setup(875, {"variant": "8s"}),
    "8s long": Setup(2625, {"variant": "8s"}),
    "32s": Setup(900, {"variant": "32s"}),
    "16s": Setup(900, {"variant": "16s"}),
    "32s learned": Setup(600, {"variant": "32s", "upsampling": "learned"}),
    "32s random": Setup(600, {"variant": "32s", "upsampling": "random"}),
    "32s corrected": Setup(900, {"variant": "32s", "geometry": "corrected"}),
    "8s corrected": Setup(875, {"variant": "8s", "geometry": "corrected"}),
}
SKIPS = ("32s", "16s", "8s")  # the three that notebook 07 draws side by side


@dataclass(frozen=True)
class Comparison:
    """FCN-32s on data that is varied on purpose, tested on several sets: notebook 05, sections 8 and 9.

    Parameters
    ----------
    steps : int
        Training steps of `BATCH` images; the same for all that are compared.
    void_as_background : bool
        Whether the training masks have their void painted as background.
    styles : tuple of str
        Drawings in the training scenes, see `emojivoc.STYLES`.
    """

    steps: int
    void_as_background: bool = False
    styles: tuple[str, ...] = emojivoc.STYLES


COMPARISONS = {
    "void left out": Comparison(300),
    "void as background": Comparison(300, void_as_background=True),
    "fluent": Comparison(240, styles=("fluent",)),
    "twemoji": Comparison(240, styles=("twemoji",)),
}
STYLE_SCENES = (400, 100)  # training and validation scenes of each style

# How much more images help: notebook 08, section 9. FCN-8s, the first images of the training list, by place.
PLACES, OWN_IMAGES, OWN_STEPS = 120, (24, 72, 192), 250
OWN_CLASSES = {
    "animal": ("bird", "cat", "cow", "dog", "horse", "sheep"),
    "vehicle": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    "furniture": ("chair", "diningtable", "sofa"),
}


def kinds() -> dict[str, dict[str, str]]:
    """List the different costs among the setups.

    Returns
    -------
    dict of str to dict
        For each `Setup.kind` the options of the first setup of this kind.
    """
    found: dict[str, dict[str, str]] = {}
    for setup in SETUPS.values():
        found.setdefault(setup.kind, setup.options)
    return found


def checkpoint(name: str, seed: int) -> Path:
    """Give the place of a trained model.

    Parameters
    ----------
    name : str
        One of `SETUPS`.
    seed : int
        Of the first weights, the batch order and the crops.

    Returns
    -------
    Path
        Below `voc.data_dir`; the file need not exist.
    """
    file = name.replace(" ", "-")
    return voc.data_dir() / "checkpoints" / "experiments" / f"{file}-seed{seed}.pt"


def measure(rounds: int = 5, steps: int = 10) -> list[dict[str, Any]]:
    """Time a training step and a prediction of each kind of model, in turns.

    Parameters
    ----------
    rounds : int
        How often each kind gets its turn.
    steps : int
        Training steps, and predicted pictures, a turn.

    Returns
    -------
    list of dict
        One row a kind: medians and spreads (largest minus smallest of the rounds) in milliseconds.
    """
    train_iter, val_iter = voc.load_data_voc(emojivoc.prepare(), BATCH, CROP, cache=True)
    pictures = [batch for _, batch in zip(range(steps), val_iter, strict=False)]
    models = {kind: fcn.FCN(**options) for kind, options in kinds().items()}
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in models}
    for turn in range(rounds + 1):  # the first turn warms up and does not count
        for kind, model in models.items():
            pair = _step_ms(model, train_iter, steps), _picture_ms(model, pictures)
            if turn:
                times[kind].append(pair)
    sizes = {kind: fcn.parameter_counts(model)["total"] for kind, model in models.items()}
    return [_timing_row(kind, sizes[kind], *zip(*times[kind], strict=True)) for kind in models]


def _step_ms(model: nn.Module, train_iter: Iterable, steps: int) -> float:
    """Train a few steps; milliseconds a step, reading included."""
    history = training.train(model, train_iter, epochs=steps / len(train_iter), live=False)
    return 1000 * history.rows[-1]["seconds"] / steps


def _picture_ms(model: nn.Module, pictures: list[tuple[Tensor, Tensor]]) -> float:
    """Predict single whole pictures; milliseconds a picture."""
    started = time.perf_counter()
    training.evaluate(model, pictures)
    return 1000 * (time.perf_counter() - started) / len(pictures)


def _timing_row(
    kind: str, parameters: int, steps: tuple[float, ...], pictures: tuple[float, ...]
) -> dict[str, Any]:
    """Summarise the rounds of one kind."""
    return {
        "kind": kind,
        "ms_step": round(statistics.median(steps), 1),
        "ms_step_spread": round(max(steps) - min(steps), 1),
        "ms_picture": round(statistics.median(pictures), 2),
        "ms_picture_spread": round(max(pictures) - min(pictures), 2),
        "parameters": parameters,
        "threads": torch.get_num_threads(),
        "precision": training.best_precision(training.best_device()),
        "torch": torch.__version__,
    }


def train_one(name: str, seed: int) -> Path:
    """Train one setup with one seed, unless its checkpoint is there.

    Parameters
    ----------
    name : str
        One of `SETUPS`.
    seed : int
        Of everything that is drawn at random.

    Returns
    -------
    Path
        The checkpoint.
    """
    path = checkpoint(name, seed)
    if path.is_file():
        return path
    train_iter, _ = voc.load_data_voc(emojivoc.prepare(), BATCH, CROP, seed=seed, cache=True)
    training.set_seed(seed)
    model = fcn.FCN(**SETUPS[name].options, classes=voc.VOC_CLASSES)
    steps = SETUPS[name].steps
    history = training.train(model, train_iter, epochs=steps / len(train_iter), seed=seed, live=False)
    notes = {"setup": name, "seed": seed, "steps": steps, "seconds": history.rows[-1]["seconds"]}
    notes |= {"threads": torch.get_num_threads(), "precision": history.settings["precision"]}
    return fcn.save(model, path, **notes)


def train_all(names: Iterable[str] = SETUPS, seeds: Iterable[int] = SEEDS) -> Iterator[tuple[str, int, Path]]:
    """Train every setup with every seed that is missing, all setups with a seed before the next seed.

    Parameters
    ----------
    names : iterable of str
        Of `SETUPS`.
    seeds : iterable of int
        The seeds.

    Yields
    ------
    tuple of (str, int, Path)
        Setup, seed and checkpoint, as soon as each is there.
    """
    names = list(names)
    for seed in seeds:
        for name in names:
            yield name, seed, train_one(name, seed)


def void_to_background(label: Tensor) -> Tensor:
    """Paint void as class 0, as the textbook's recipe does."""
    return label.masked_fill(label == voc.VOID, 0)


def _scenes(comparison: Comparison) -> Path:
    """Draw the scenes that a comparison is trained on."""
    if comparison.styles == emojivoc.STYLES:
        return emojivoc.prepare()
    n_train, n_val = STYLE_SCENES
    return emojivoc.prepare(n_train=n_train, n_val=n_val, styles=comparison.styles)


def compare_one(name: str, seed: int) -> dict[str, Tensor]:
    """Train one of `COMPARISONS` and count its predictions in each way it is compared in.

    Parameters
    ----------
    name : str
        One of `COMPARISONS`.
    seed : int
        Of the first weights, the batch order and the crops.

    Returns
    -------
    dict of str to Tensor
        Confusion matrices, int64 (21, 21), by what is varied in the count: the name of a style, or
        "void left out" and "void as background".
    """
    comparison = COMPARISONS[name]
    paint = void_to_background if comparison.void_as_background else None
    options = {"seed": seed, "cache": True, "target_transform": paint}
    train_iter, _ = voc.load_data_voc(_scenes(comparison), BATCH, CROP, **options)
    training.set_seed(seed)
    model = fcn.FCN32s(21, classes=voc.VOC_CLASSES)
    training.train(model, train_iter, epochs=comparison.steps / len(train_iter), seed=seed, live=False)
    if comparison.styles != emojivoc.STYLES:
        others = {style: _scenes(Comparison(0, styles=(style,))) for style in emojivoc.STYLES}
        sets = {style: voc.VOCSegDataset(folder, "val") for style, folder in others.items()}
        return {style: training.evaluate(model, voc.whole_images(val)) for style, val in sets.items()}
    counts = dict.fromkeys(("void left out", "void as background"), 0)
    for image, label in voc.VOCSegDataset(emojivoc.prepare(), "val"):
        guess = prediction.predict(model, image)
        for way, truth in zip(counts, (label, void_to_background(label)), strict=True):
            counts[way] = counts[way] + metrics.confusion_matrix(guess, truth, 21)
    return counts


def compare_all(seeds: Iterable[int] = SEEDS) -> Iterator[tuple[str, int]]:
    """Keep the matrices of every comparison and seed that is missing in ``comparisons.npz``.

    Yields
    ------
    tuple of (str, int)
        Comparison and seed, as soon as its matrices are kept.
    """
    path = RESULTS / "comparisons.npz"
    kept = dict(np.load(path)) if path.is_file() else {}
    for seed, name in itertools.product(seeds, COMPARISONS):
        if not any(key.startswith(f"{name}/") and key.endswith(f"/{seed}") for key in kept):
            counted = compare_one(name, seed)
            kept |= {f"{name}/{way}/{seed}": matrix.numpy() for way, matrix in counted.items()}
            with files.written_whole(path) as file:
                np.savez_compressed(file, **kept)
        yield name, seed


def compared(name: str, way: str) -> list[Tensor]:
    """Read the kept confusion matrices of one of `COMPARISONS`, one a seed.

    Parameters
    ----------
    name : str
        How it was trained: one of `COMPARISONS`.
    way : str
        How it was counted: a style, "void left out" or "void as background".

    Returns
    -------
    list of Tensor
        int64 (21, 21) each.

    Raises
    ------
    FileNotFoundError
        If they were never made.
    """
    path = RESULTS / "comparisons.npz"
    kept = np.load(path) if path.is_file() else {}
    keys = [f"{name}/{way}/{seed}" for seed in SEEDS]
    if not all(key in kept for key in keys):
        command = "python -m d2lseg.experiments compare"
        raise FileNotFoundError(f"{path}: no kept matrices of {name!r}, {way!r}; make them with {command}")
    return [torch.from_numpy(kept[key]) for key in keys]


def own_data(folder: Path) -> Path:
    """Make the dataset of notebook 08, its images split by place: 120 places, each seen twice.

    Parameters
    ----------
    folder : Path
        Where the images, the masks and the dataset go.

    Returns
    -------
    Path
        The dataset, in VOC layout, with one list more for each number in `OWN_IMAGES`.
    """
    names = []
    for part in ("photos", "masks"):
        (folder / part).mkdir(parents=True)
    for place, (letter, step, light) in itertools.product(range(PLACES), (("a", 0, 1.0), ("b", 6, 0.9))):
        image, mask = emojivoc.draw_scene(place, seed=8, styles=("fluent",))
        rows, columns = (slice(step, side - 10 + step) for side in mask.shape)
        pixels = (image[:, rows, columns] * light).to(torch.uint8).permute(1, 2, 0)  # (3, H, W) -> (H, W, 3)
        names.append(f"place{place:03}{letter}")
        Image.fromarray(pixels.numpy()).save(folder / "photos" / f"{names[-1]}.jpg", quality=90)
        Image.fromarray(mask[rows, columns].numpy()).save(folder / "masks" / f"{names[-1]}.png")
    mapping = dict.fromkeys(range(21), 0)
    for new, things in enumerate(OWN_CLASSES.values(), start=1):
        mapping |= {voc.VOC_CLASSES.index(thing): new for thing in things}
    lists = convert.split(names, seed=0, source=lambda name: name[:-1])
    lists |= {f"train_{n}": lists["train"][:n] for n in OWN_IMAGES}
    own = ClassList(("background", *OWN_CLASSES))
    return convert.from_masks(
        folder / "photos", folder / "masks", folder / "clean", own, mapping, lists=lists
    )


def own_row(folder: Path, images: int, seed: int) -> dict[str, Any]:
    """Train on the first images of notebook 08's dataset; give a row of the table "own_data".

    Parameters
    ----------
    folder : Path
        What `own_data` gave.
    images : int
        One of `OWN_IMAGES`.
    seed : int
        Of everything that is drawn at random.
    """
    pictures = voc.VOCSegDataset(folder, f"train_{images}", CROP, flip=True, seed=seed, cache=True)
    batches = DataLoader(pictures, BATCH, shuffle=True, drop_last=True, generator=torch.Generator())
    training.set_seed(seed)
    model = fcn.FCN8s(1 + len(OWN_CLASSES))
    training.train(model, batches, epochs=OWN_STEPS / len(batches), seed=seed, live=False)
    row: dict[str, Any] = {"images": images, "seed": seed, "steps": OWN_STEPS}
    for part, column in ((f"train_{images}", "miou_train"), ("val", "miou_val")):
        matrix = training.evaluate(model, voc.whole_images(voc.VOCSegDataset(folder, part)))
        row[column] = round(metrics.scores(matrix).miou, 5)
    return row


def read(table: str) -> list[dict[str, str]]:
    """Read a kept table.

    Parameters
    ----------
    table : {"speed", "scores", "own_data"}
        Which one.

    Returns
    -------
    list of dict
        Its rows; every value is text.

    Raises
    ------
    FileNotFoundError
        If it was never made.
    """
    path = RESULTS / f"{table}.csv"
    if not path.is_file():
        command = {"speed": "time", "own_data": "own-data"}.get(table, "train, then score")
        raise FileNotFoundError(f"{path}: no such table; make it with python -m d2lseg.experiments {command}")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(table: str, rows: list[dict[str, Any]]) -> Path:
    """Keep a table.

    Parameters
    ----------
    table : str
        Its name.
    rows : list of dict
        All with the same keys.

    Returns
    -------
    Path
        The file, written whole or not at all.
    """
    return files.write_csv(RESULTS / f"{table}.csv", rows)


def shrink_and_enlarge(label: Tensor, stride: int, num_classes: int = 21) -> Tensor:
    """Pass a true label through a map with one cell for each stride x stride pixels.

    Each cell holds for each class the share of its pixels that have it (void and padding have none); the
    cells are enlarged bilinearly, as a network's scores are, and the largest share wins at each pixel.

    Parameters
    ----------
    label : Tensor
        Class indices, integer (H, W), 255 = void.
    stride : int
        Pixels a cell.
    num_classes : int
        Number of classes C.

    Returns
    -------
    Tensor
        Class indices, uint8 (H, W).

    Raises
    ------
    ValueError
        If the stride is below 1.

    Notes
    -----
    Source of the idea: Long, Shelhamer and Darrell, CVPR 2015 (arXiv version 2), appendix A ("Upper bounds on
    IU").
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    height, width = label.shape
    # void is a class of its own first, then left out: it belongs to no share
    planes = F.one_hot(label.long().clamp(max=num_classes), num_classes + 1)[..., :num_classes]
    planes = fcn.pad_to_multiple(planes.permute(2, 0, 1).float()[None], stride)  # (H, W, C) -> (1, C, H', W')
    cells = F.avg_pool2d(planes, stride)  # (1, C, H', W') -> (1, C, h, w)
    enlarged = BilinearUpsample(stride)(cells)[0, :, :height, :width]
    return enlarged.argmax(0).to(torch.uint8)


def stride_ceiling(labels: Iterable[Tensor], stride: int, num_classes: int = 21) -> Tensor:
    """Score what is left of true labels after a map of this stride.

    Parameters
    ----------
    labels : iterable of Tensor
        Class indices, integer (H, W), 255 = void.
    stride : int
        Pixels a cell.
    num_classes : int
        Number of classes C.

    Returns
    -------
    Tensor
        Confusion matrix, int64 (C, C), over all labels.
    """
    total = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for label in labels:
        total += metrics.confusion_matrix(shrink_and_enlarge(label, stride, num_classes), label, num_classes)
    return total


def band_matrices(
    pairs: Iterable[tuple[Tensor, Tensor]], widths: Iterable[int] = BAND_WIDTHS, num_classes: int = 21
) -> dict[str, Tensor]:
    """Count right and wrong pixels: all of them, near the boundaries, and away from them.

    Parameters
    ----------
    pairs : iterable of (Tensor, Tensor)
        Prediction and label, integer (H, W) each, 255 = void.
    widths : iterable of int
        Of the bands, in pixels, see `metrics.boundary_band`.
    num_classes : int
        Number of classes C.

    Returns
    -------
    dict of str to Tensor
        Confusion matrices (C, C): "whole", and for each width w "band_w" and "interior_w".
    """
    widths = list(widths)
    whole = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    bands = {width: torch.zeros_like(whole) for width in widths}
    for guess, label in pairs:
        whole += metrics.confusion_matrix(guess, label, num_classes)
        for width in widths:
            counted = label.masked_fill(~metrics.boundary_band(label, width), training.VOID)
            bands[width] += metrics.confusion_matrix(guess, counted, num_classes)
    matrices = {"whole": whole}
    for width, band in bands.items():  # a pixel that is not in the band is in the interior
        matrices |= {f"band_{width}": band, f"interior_{width}": whole - band}
    return matrices


def score_one(name: str, seed: int) -> dict[str, Any]:
    """Score a trained setup on the validation scenes: whole, and in bands around the boundaries.

    Parameters
    ----------
    name : str
        One of `SETUPS`.
    seed : int
        Which of its models.

    Returns
    -------
    dict
        A row of the table "scores"; ``band_3`` is the mIoU of the pixels within 3 pixels of a boundary,
        ``interior_3`` that of the others.

    Raises
    ------
    FileNotFoundError
        If it was not trained.
    """
    model = fcn.load(checkpoint(name, seed))
    dataset = voc.VOCSegDataset(emojivoc.prepare(), "val")
    pairs = ((prediction.predict(model, image), label) for image, label in dataset)
    scores = {key: metrics.scores(matrix) for key, matrix in band_matrices(pairs).items()}
    whole = scores.pop("whole")
    row = {"setup": name, "seed": seed, "steps": model.notes["steps"], "seconds": model.notes["seconds"]}
    row["threads"] = model.notes["threads"]
    row |= {"pixel_acc": whole.pixel_acc, "mean_acc": whole.mean_acc, "miou": whole.miou}
    row |= {key: part.miou for key, part in scores.items()}
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}


def _kept_row(name: str, seed: int) -> dict[str, str] | None:
    """Find the kept score of a model, if it is of this very training: no two take the same time."""
    if not (RESULTS / "scores.csv").is_file():
        return None
    seconds = str(round(read_checkpoint(checkpoint(name, seed))["notes"]["seconds"], 5))
    same = {"setup": name, "seed": str(seed), "seconds": seconds}
    return next((row for row in read("scores") if same.items() <= row.items()), None)


def keep_predictions(names: Iterable[str], seed: int = 0) -> list[Path]:
    """Keep what trained models predict for a few validation scenes, for the picture in notebook 07.

    Parameters
    ----------
    names : iterable of str
        Of `SETUPS`.
    seed : int
        Which of their models.

    Returns
    -------
    list of Path
        Palette PNGs in the kept results, one a setup and scene.
    """
    dataset, paths = voc.VOCSegDataset(emojivoc.prepare(), "val"), []
    (RESULTS / "predictions").mkdir(parents=True, exist_ok=True)
    for name in names:
        model = fcn.load(checkpoint(name, seed))
        for index in PICTURED:
            paths.append(RESULTS / "predictions" / f"{name}-{dataset.ids[index]}.png")
            voc.write_mask(paths[-1], prediction.predict(model, dataset[index][0]))
    return paths


def kept_predictions(name: str) -> list[Tensor]:
    """Read the kept predictions of one setup.

    Parameters
    ----------
    name : str
        One of `SKIPS`.

    Returns
    -------
    list of Tensor
        Class indices, uint8 (H, W), of the validation scenes `PICTURED`.

    Raises
    ------
    FileNotFoundError
        If none are kept.
    """
    paths = sorted((RESULTS / "predictions").glob(f"{name}-*.png"))
    if not paths:
        raise FileNotFoundError(
            f"{RESULTS / 'predictions'}: no predictions of {name!r}; make them with "
            "python -m d2lseg.experiments train and score"
        )
    return [voc.read_mask(path) for path in paths]


def mean_and_spread(name: str, column: str) -> tuple[float, float]:
    """Summarise a column of the kept scores over the seeds.

    Parameters
    ----------
    name : str
        One of `SETUPS`.
    column : str
        Of the table "scores".

    Returns
    -------
    mean : float
        Over the seeds.
    spread : float
        The largest value minus the smallest.

    Raises
    ------
    ValueError
        If there is no such setup or column.
    """
    rows = [row for row in read("scores") if row["setup"] == name]
    if not rows or column not in rows[0]:
        raise ValueError(f"the kept scores have no {column!r} of {name!r}")
    values = [float(row[column]) for row in rows]
    return statistics.mean(values), max(values) - min(values)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        ``sys.argv`` without the program by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m d2lseg.experiments", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("what", choices=("time", "train", "score", "compare", "own-data"))
    parser.add_argument("--setups", nargs="+", default=list(SETUPS), choices=SETUPS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options = parser.parse_args(arguments)
    if options.what == "time":
        print(write("speed", measure()).read_text(encoding="utf-8"))
    if options.what == "train":
        for name, seed, path in train_all(options.setups, options.seeds):
            print(f"{name}, seed {seed}: {read_checkpoint(path)['notes']}", flush=True)
    if options.what == "compare":
        for name, seed in compare_all(options.seeds):
            print(f"{name}, seed {seed}: kept", flush=True)
    if options.what == "own-data":
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            clean = own_data(Path(folder))
            for images, seed in itertools.product(OWN_IMAGES, options.seeds):
                rows.append(own_row(clean, images, seed))
                print(rows[-1], flush=True)
        write("own_data", rows)
    if options.what == "score":
        rows = []
        for name, seed in itertools.product(options.setups, options.seeds):
            rows.append(_kept_row(name, seed) or score_one(name, seed))
            print(rows[-1], flush=True)
        write("scores", rows)
        keep_predictions(name for name in SKIPS if name in options.setups)


if __name__ == "__main__":
    main()
