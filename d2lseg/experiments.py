"""Offline experiments: which models are trained, for how long, and the result tables kept with the package.

``python -m d2lseg.experiments time`` measures the cost of a training step and of a prediction. ``train``
trains every setup with every seed (an hour or more; run it again to resume), and ``score`` writes the tables
in ``d2lseg/results`` that notebooks 07 and 10 and the README show. ``ship`` writes the weights that come with
the package as "emoji". ``compare`` trains the comparisons of notebook 05 (10 minutes, also resumable), and
``own-data`` the learning curve of notebook 11 (an hour).

Setups that are compared get equal training time. It is counted in steps, converted by the cost of a step on
an idle machine, so a busy machine takes longer but reaches the same scores.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from .classes import VOC_CLASSES, VOID, ClassList
from .datasets import convert
from .engine import devices, files
from .engine.checkpoint import describe, halved
from .engine.checkpoint import read as read_checkpoint
from .engine.checkpoint import write as write_checkpoint
from .upsampling import BilinearUpsample

RESULTS = Path(__file__).resolve().parent / "results"
SEEDS = (0, 1, 2)
BATCH, CROP = 8, (160, 224)
BAND_WIDTHS = (1, 2, 3, 5, 8, 13)  # pixels on each side of a boundary
SHOWN_SCENES = range(0, 25, 5)  # validation scenes shown in figures: every fifth, not picked by hand


@dataclass(frozen=True)
class Setup:
    """A model and the length of its training run.

    Parameters
    ----------
    steps : int
        Training steps of `BATCH` images.
    options : dict
        Arguments of `fcn.FCN`.
    data : dict
        What the training images go through: `flip`, `scale` or `jitter` of `voc.VOCSegDataset`.
    loss : str
        The loss: "ce", "balanced" (class weights by `training.balanced_weights`) or "ce+dice".
    """

    steps: int
    options: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    loss: str = "ce"

    @property
    def kind(self) -> str:
        """What determines the cost of a step: the variant, and whether its upsampling is learned."""
        learned = self.options.get("upsampling", "bilinear") != "bilinear"
        return self.options["variant"] + (" learned" if learned else "")


# By the table "speed", these steps take equal time: a step of FCN-8s costs slightly more than one of FCN-32s,
# and the learned layer multiplies the cost by 1.5. The budget is 900 steps of FCN-32s, tripled for "long".
SETUPS = {
    "8s": Setup(875, {"variant": "8s"}),
    "8s long": Setup(2625, {"variant": "8s"}),
    "32s": Setup(900, {"variant": "32s"}),
    "16s": Setup(900, {"variant": "16s"}),
    "32s learned": Setup(600, {"variant": "32s", "upsampling": "learned"}),
    "32s random": Setup(600, {"variant": "32s", "upsampling": "random"}),
    "32s corrected": Setup(900, {"variant": "32s", "geometry": "corrected"}),
    "8s corrected": Setup(875, {"variant": "8s", "geometry": "corrected"}),
    # The experiments of notebook 10: each changes one thing about how "8s" is trained.
    "8s unflipped": Setup(875, {"variant": "8s"}, {"flip": False}),
    "8s scaled": Setup(875, {"variant": "8s"}, {"scale": (0.5, 2.0)}),
    "8s jittered": Setup(875, {"variant": "8s"}, {"jitter": 0.3}),
    "8s balanced": Setup(875, {"variant": "8s"}, loss="balanced"),
    "8s Dice": Setup(875, {"variant": "8s"}, loss="ce+dice"),
}
SKIPS = ("32s", "16s", "8s")  # the three that notebook 07 draws side by side
SHIPPED_SETUP = "32s"  # notebook 05's own model: its first seed comes with the package


@dataclass(frozen=True)
class Comparison:
    """FCN-32s trained on deliberately varied data and tested on several sets (notebook 05, sections 8 and 9).

    Parameters
    ----------
    steps : int
        Training steps of `BATCH` images, the same for all models that are compared.
    void_as_background : bool
        Whether void is relabelled as background in the training masks.
    styles : tuple of str
        Styles of the drawings in the training scenes, see `emojivoc.STYLES`.
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

# How much more places help (notebook 11, section 9): FCN-8s on the first places of the training list, two
# images of each. A run is repeated with twice as many steps until it knows its own images.
PLACES, OWN_PLACES, OWN_STEPS, OWN_FIT = 120, (12, 24, 48, 96), (250, 500, 1000, 2000, 4000), 0.95
OWN_CLASSES = {
    "animal": ("bird", "cat", "cow", "dog", "horse", "sheep"),
    "vehicle": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    "furniture": ("chair", "diningtable", "sofa"),
}

# The command that makes each kept table.
COMMANDS = {
    "speed": "d2lseg.experiments time",
    "scores": "d2lseg.experiments train, then score",
    "own_data": "d2lseg.experiments own-data",
    "photos": "tools.photos score",
    "photos_calibration": "tools.photos calibrate",
    "transfer": "tools.transfer train",
    "transfer_emoji": "tools.transfer emoji",
    "textbook": "benchmarks photos",
    "textbook_curve": "benchmarks photos",
    "beyond_speed": "tools.beyond time",
    "beyond": "tools.beyond train",
}


def kinds() -> dict[str, dict[str, Any]]:
    """Return, for each `Setup.kind`, the options of the first setup of that kind."""
    found: dict[str, dict[str, Any]] = {}
    for setup in SETUPS.values():
        found.setdefault(setup.kind, setup.options)
    return found


def checkpoint(name: str, seed: int) -> Path:
    """Return the path of a trained setup, which may not exist yet."""
    file = name.replace(" ", "-")
    return voc.data_dir() / "checkpoints" / "experiments" / f"{file}-seed{seed}.pt"


def measure(rounds: int = 5, steps: int = 10) -> list[dict[str, Any]]:
    """Time a training step and a prediction of each kind of model, in turns.

    Parameters
    ----------
    rounds : int
        How often each kind gets its turn.
    steps : int
        Training steps, and predicted images, per turn.

    Returns
    -------
    list of dict
        One row per kind: medians and spreads (largest minus smallest of the rounds) in milliseconds.
    """
    train_iter, val_iter = voc.load_data_voc(emojivoc.prepare(), BATCH, CROP, cache=True)
    images = [batch for _, batch in zip(range(steps), val_iter, strict=False)]
    models = {kind: fcn.FCN(**options) for kind, options in kinds().items()}
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in models}
    for turn in range(rounds + 1):  # the first turn warms up and does not count
        for kind, model in models.items():
            pair = _step_ms(model, train_iter, steps), _image_ms(model, images)
            if turn:
                times[kind].append(pair)
    sizes = {kind: fcn.parameter_counts(model)["total"] for kind, model in models.items()}
    return [_timing_row(kind, sizes[kind], *zip(*times[kind], strict=True)) for kind in models]


def _step_ms(model: nn.Module, train_iter: DataLoader, steps: int) -> float:
    """Return the milliseconds per training step, data loading included."""
    history = training.train(model, train_iter, epochs=steps / len(train_iter), live=False)
    return 1000 * history.rows[-1]["seconds"] / steps


def _image_ms(model: nn.Module, images: list[tuple[Tensor, Tensor]]) -> float:
    """Return the milliseconds per whole image, predicted one at a time."""
    started = time.perf_counter()
    training.evaluate(model, images)
    return 1000 * (time.perf_counter() - started) / len(images)


def _timing_row(
    kind: str, parameters: int, steps: tuple[float, ...], images: tuple[float, ...]
) -> dict[str, Any]:
    """Summarise the rounds of one kind."""
    return {
        "kind": kind,
        "ms_step": round(statistics.median(steps), 1),
        "ms_step_spread": round(max(steps) - min(steps), 1),
        "ms_image": round(statistics.median(images), 2),
        "ms_image_spread": round(max(images) - min(images), 2),
        "parameters": parameters,
        "threads": torch.get_num_threads(),
        "precision": devices.best_precision(devices.best_device()),
        "torch": torch.__version__,
    }


def batches(name: str, seed: int) -> DataLoader:
    """Load the training images of a setup, flipped unless it says otherwise."""
    data = {"flip": True} | SETUPS[name].data
    flip = data.pop("flip")
    train_iter, _ = voc.load_data_voc(emojivoc.prepare(), BATCH, CROP, seed=seed, cache=True, **data)
    train_iter.dataset.flip = flip  # type: ignore[attr-defined]
    return train_iter


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of a setup; class weights are counted in the training labels."""
    if SETUPS[name].loss == "ce+dice":
        return training.cross_entropy_and_dice
    if SETUPS[name].loss == "balanced":
        weights = training.balanced_weights(pixels_per_class(voc.VOCSegDataset(emojivoc.prepare(), "train")))
        return lambda logits, label: training.segmentation_loss(logits, label, weights)
    return training.segmentation_loss


def pixels_per_class(dataset: voc.VOCSegDataset, num_classes: int = 21) -> Tensor:
    """Count the labelled pixels of each class in a dataset: int64 (C,)."""
    return training.count_pixels((dataset[index][1] for index in range(len(dataset))), num_classes)


def train_one(name: str, seed: int) -> Path:
    """Train one setup with one seed unless its checkpoint exists, and return the checkpoint's path."""
    path = checkpoint(name, seed)
    if path.is_file():
        return path
    train_iter = batches(name, seed)
    devices.set_seed(seed)
    model = fcn.FCN(**SETUPS[name].options, classes=VOC_CLASSES)
    steps = SETUPS[name].steps
    options: Any = {"loss": loss_of(name), "seed": seed, "live": False}
    history = training.train(model, train_iter, epochs=steps / len(train_iter), **options)
    notes = {"setup": name, "seed": seed, "steps": steps, "seconds": history.rows[-1]["seconds"]}
    notes |= {"threads": torch.get_num_threads(), "precision": history.settings["precision"]}
    return fcn.save(model, path, **notes)


def train_all(names: Iterable[str] = SETUPS, seeds: Iterable[int] = SEEDS) -> Iterator[tuple[str, int, Path]]:
    """Train every setup with every seed: all setups with the first seed, then all with the next.

    Yields
    ------
    tuple of (str, int, Path)
        Setup, seed and checkpoint, each as soon as the checkpoint exists.
    """
    names = list(names)
    for seed in seeds:
        for name in names:
            yield name, seed, train_one(name, seed)


def void_to_background(label: Tensor) -> Tensor:
    """Relabel void as class 0, as the textbook's recipe does."""
    return label.masked_fill(label == VOID, 0)


def _scenes(comparison: Comparison) -> Path:
    """Prepare the scenes that a comparison is trained on."""
    if comparison.styles == emojivoc.STYLES:
        return emojivoc.prepare()
    n_train, n_val = STYLE_SCENES
    return emojivoc.prepare(n_train=n_train, n_val=n_val, styles=comparison.styles)


def compare_one(name: str, seed: int) -> dict[str, Tensor]:
    """Train one of `COMPARISONS` and evaluate it in each way it is compared.

    Parameters
    ----------
    name : str
        One of `COMPARISONS`.
    seed : int
        Seed of the initial weights, the batch order and the crops.

    Returns
    -------
    dict of str to Tensor
        Confusion matrices, int64 (21, 21). The keys say what is evaluated: a style, or "void left out" and
        "void as background".
    """
    comparison = COMPARISONS[name]
    relabel = void_to_background if comparison.void_as_background else None
    train_iter, _ = voc.load_data_voc(
        _scenes(comparison), BATCH, CROP, seed=seed, cache=True, target_transform=relabel
    )
    devices.set_seed(seed)
    model = fcn.FCN32s(21, classes=VOC_CLASSES)
    training.train(model, train_iter, epochs=comparison.steps / len(train_iter), seed=seed, live=False)
    if comparison.styles != emojivoc.STYLES:
        return _by_style(model)
    if seed == 0:
        _write_predictions(name, model)
    return _by_void(model)


def _by_style(model: fcn.FCN) -> dict[str, Tensor]:
    """Evaluate a model on the validation scenes of each style."""
    folders = {style: _scenes(Comparison(0, styles=(style,))) for style in emojivoc.STYLES}
    sets = {style: voc.VOCSegDataset(folder, "val") for style, folder in folders.items()}
    return {style: training.evaluate(model, voc.whole_images(val)) for style, val in sets.items()}


def _by_void(model: fcn.FCN) -> dict[str, Tensor]:
    """Evaluate a model with void left out, and with void counted as background."""
    left_out, background = torch.zeros(2, 21, 21, dtype=torch.int64)
    dataset = voc.VOCSegDataset(emojivoc.prepare(), "val")
    for image, label in (dataset[index] for index in range(len(dataset))):
        guess = prediction.predict(model, image)
        left_out += metrics.confusion_matrix(guess, label, 21)
        background += metrics.confusion_matrix(guess, void_to_background(label), 21)
    return {"void left out": left_out, "void as background": background}


def compare_all(seeds: Iterable[int] = SEEDS) -> Iterator[tuple[str, int]]:
    """Run every comparison with every seed that ``comparisons.npz`` lacks, and add its matrices to the file.

    Yields
    ------
    tuple of (str, int)
        Comparison and seed, each as soon as its matrices are in the file.
    """
    path = RESULTS / "comparisons.npz"
    kept = dict(np.load(path)) if path.is_file() else {}
    for seed, name in itertools.product(seeds, COMPARISONS):
        if not any(key.startswith(f"{name}/") and key.endswith(f"/{seed}") for key in kept):
            matrices = compare_one(name, seed)
            kept |= {f"{name}/{way}/{seed}": matrix.numpy() for way, matrix in matrices.items()}
            with files.written_whole(path) as file:
                np.savez_compressed(file, **kept)
        yield name, seed


def compared(name: str, way: str) -> list[Tensor]:
    """Read the kept confusion matrices of one of `COMPARISONS`.

    Parameters
    ----------
    name : str
        How the models were trained: one of `COMPARISONS`.
    way : str
        How they were evaluated: a style, "void left out" or "void as background".

    Returns
    -------
    list of Tensor
        One int64 (21, 21) matrix per seed.

    Raises
    ------
    FileNotFoundError
        If the matrices are not kept.
    """
    path = RESULTS / "comparisons.npz"
    kept = np.load(path) if path.is_file() else {}
    keys = [f"{name}/{way}/{seed}" for seed in SEEDS]
    if not all(key in kept for key in keys):
        command = "python -m d2lseg.experiments compare"
        raise FileNotFoundError(f"{path}: no kept matrices of {name!r}, {way!r}; make them with {command}")
    return [torch.from_numpy(kept[key]) for key in keys]


def own_data(folder: Path) -> Path:
    """Make the dataset of notebook 11, split by place: 120 places, two images of each.

    Parameters
    ----------
    folder : Path
        Where the images, the masks and the dataset are written.

    Returns
    -------
    Path
        The dataset in VOC layout, with one extra list for each number in `OWN_PLACES`.
    """
    for part in ("photos", "masks"):
        (folder / part).mkdir(parents=True)
    views = itertools.product(range(PLACES), (("a", 0, 1.0), ("b", 6, 0.9)))
    names = [_write_view(folder, place, *view) for place, view in views]
    mapping = dict.fromkeys(range(21), 0)
    for new, things in enumerate(OWN_CLASSES.values(), start=1):
        mapping |= {VOC_CLASSES.index(thing): new for thing in things}
    lists = convert.split(names, seed=0, source=lambda name: name[:-1])
    lists |= {f"train_{n}": lists["train"][: 2 * n] for n in OWN_PLACES}
    own = ClassList(("background", *OWN_CLASSES))
    return convert.from_masks(
        folder / "photos", folder / "masks", folder / "clean", own, mapping, lists=lists
    )


def _write_view(folder: Path, place: int, letter: str, step: int, light: float) -> str:
    """Write one image of a place and its mask; a step aside and other light make the second view."""
    image, mask = emojivoc.draw_scene(place, seed=8, styles=("fluent",))
    rows, columns = (slice(step, side - 10 + step) for side in mask.shape)
    pixels = (image[:, rows, columns] * light).to(torch.uint8).permute(1, 2, 0)  # (3, H, W) -> (H, W, 3)
    name = f"place{place:03}{letter}"
    Image.fromarray(pixels.numpy()).save(folder / "photos" / f"{name}.jpg", quality=90)
    Image.fromarray(mask[rows, columns].numpy()).save(folder / "masks" / f"{name}.png")
    return name


def own_rows(folder: Path, places: int, seed: int) -> Iterator[dict[str, Any]]:
    """Train on the first places of notebook 11's dataset, for longer each time, until it knows their images.

    Parameters
    ----------
    folder : Path
        The dataset that `own_data` made.
    places : int
        One of `OWN_PLACES`.
    seed : int
        Seed of the initial weights, the batch order and the crops.

    Yields
    ------
    dict
        A row of the table "own_data" for each length in `OWN_STEPS`, up to the first that reaches an mIoU of
        `OWN_FIT` on the images it was trained on.
    """
    for steps in OWN_STEPS:
        row = {"places": places, "seed": seed, "steps": steps} | _own_scores(folder, places, seed, steps)
        yield row
        if row["miou_train"] >= OWN_FIT:
            return


def _own_scores(folder: Path, places: int, seed: int, steps: int) -> dict[str, float]:
    """Train one model on places, and return its mIoU on its own images and on those of other places."""
    train_set = voc.VOCSegDataset(folder, f"train_{places}", CROP, flip=True, seed=seed, cache=True)
    order = torch.Generator().manual_seed(seed)
    train_iter = DataLoader(train_set, BATCH, shuffle=True, drop_last=True, generator=order)
    devices.set_seed(seed)
    model = fcn.FCN8s(1 + len(OWN_CLASSES))
    training.train(model, train_iter, epochs=steps / len(train_iter), seed=seed, live=False)
    parts = {"miou_train": f"train_{places}", "miou_val": "val"}
    sets = {column: voc.whole_images(voc.VOCSegDataset(folder, part)) for column, part in parts.items()}
    return {c: round(metrics.scores(training.evaluate(model, s)).miou, 5) for c, s in sets.items()}


def converged() -> list[dict[str, str]]:
    """Return, from the kept table "own_data", the longest run of each number of places and seed."""
    longest = {(row["places"], row["seed"]): row for row in read("own_data")}  # a longer run comes later
    return list(longest.values())


def read(table: str) -> list[dict[str, str]]:
    """Read a kept table.

    Parameters
    ----------
    table : str
        Its name, one of `COMMANDS`.

    Returns
    -------
    list of dict
        Its rows; every value is text.

    Raises
    ------
    FileNotFoundError
        If the table is not kept.
    """
    path = RESULTS / f"{table}.csv"
    if not (rows := files.read_csv(path)):
        raise FileNotFoundError(f"{path}: no such table; make it with python -m {COMMANDS[table]}")
    return rows


def write(table: str, rows: list[dict[str, Any]]) -> Path:
    """Write a table whose rows all have the same keys, and return its path."""
    return files.write_csv(RESULTS / f"{table}.csv", rows)


def shrink_and_enlarge(label: Tensor, stride: int, num_classes: int = 21) -> Tensor:
    """Pass a true label through a map with one cell for each stride x stride pixels.

    Each cell holds the share of its pixels in each class (void and padding belong to no class). The cells are
    enlarged bilinearly, as a network's scores are, and the largest share wins at each pixel.

    Parameters
    ----------
    label : Tensor
        Class indices, integer (H, W), 255 = void.
    stride : int
        Pixels per cell.
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
    # void is first encoded as a class of its own, then dropped, so that it adds to no share
    planes = F.one_hot(label.long().clamp(max=num_classes), num_classes + 1)[..., :num_classes]
    planes = fcn.pad_to_multiple(planes.permute(2, 0, 1).float()[None], stride)  # (H, W, C) -> (1, C, H', W')
    cells = F.avg_pool2d(planes, stride)  # (1, C, H', W') -> (1, C, h, w)
    enlarged = BilinearUpsample(stride)(cells)[0, :, :height, :width]
    return enlarged.argmax(0).to(torch.uint8)


def stride_ceiling(labels: Iterable[Tensor], stride: int, num_classes: int = 21) -> Tensor:
    """Compare true labels with what `shrink_and_enlarge` leaves of them.

    Parameters
    ----------
    labels : iterable of Tensor
        Class indices, integer (H, W), 255 = void.
    stride : int
        Pixels per cell.
    num_classes : int
        Number of classes C.

    Returns
    -------
    Tensor
        Confusion matrix over all labels, int64 (C, C).
    """
    total = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for label in labels:
        total += metrics.confusion_matrix(shrink_and_enlarge(label, stride, num_classes), label, num_classes)
    return total


def band_matrices(
    pairs: Iterable[tuple[Tensor, Tensor]], widths: Iterable[int] = BAND_WIDTHS, num_classes: int = 21
) -> dict[str, Tensor]:
    """Count the confusion matrix over all pixels, near the boundaries, and away from them.

    Parameters
    ----------
    pairs : iterable of (Tensor, Tensor)
        Prediction and label, integer (H, W) each, 255 = void.
    widths : iterable of int
        Widths of the bands in pixels, see `metrics.boundary_band`.
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
            inside = label.masked_fill(~metrics.boundary_band(label, width), VOID)
            bands[width] += metrics.confusion_matrix(guess, inside, num_classes)
    matrices = {"whole": whole}
    for width, band in bands.items():  # a pixel outside the band is in the interior
        matrices |= {f"band_{width}": band, f"interior_{width}": whole - band}
    return matrices


def digest(state: Mapping[str, Tensor]) -> str:
    """Identify weights by their content.

    Parameters
    ----------
    state : mapping of str to Tensor
        A model's ``state_dict``, or the one in a checkpoint.

    Returns
    -------
    str
        The first 16 hexadecimal digits of the SHA-256 of all names, types, shapes and values.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def score_one(name: str, seed: int) -> dict[str, Any]:
    """Score a trained setup on the validation scenes: on whole images, and in bands around the boundaries.

    Parameters
    ----------
    name : str
        One of `SETUPS`.
    seed : int
        Which of its models.

    Returns
    -------
    dict
        A row of the table "scores". ``digest`` identifies the weights, ``band_3`` is the mIoU of the pixels
        within 3 pixels of a boundary, and ``interior_3`` that of all others.
    """
    model = fcn.load(checkpoint(name, seed))
    dataset = voc.VOCSegDataset(emojivoc.prepare(), "val")
    scenes = (dataset[index] for index in range(len(dataset)))
    pairs = ((prediction.predict(model, image), label) for image, label in scenes)
    scores = {key: metrics.scores(matrix) for key, matrix in band_matrices(pairs).items()}
    whole = scores.pop("whole")
    row = {"setup": name, "seed": seed, "digest": digest(model.state_dict())}
    row |= {key: model.notes[key] for key in ("steps", "seconds", "threads")}
    row |= {"pixel_acc": whole.pixel_acc, "mean_acc": whole.mean_acc, "miou": whole.miou}
    row |= {key: part.miou for key, part in scores.items()}
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}


def _kept_row(name: str, seed: int) -> dict[str, str] | None:
    """Return the kept scores of a trained setup if they belong to exactly these weights.

    A row without a digest was kept before digests were; it belongs to weights that are unknown, so it never
    matches.
    """
    if not (RESULTS / "scores.csv").is_file():
        return None
    weights = digest(read_checkpoint(checkpoint(name, seed))["state"])
    same = {"setup": name, "seed": str(seed), "digest": weights}
    return next((row for row in read("scores") if same.items() <= row.items()), None)


def keep_predictions(names: Iterable[str], seed: int = 0) -> list[Path]:
    """Write the predictions of trained setups for the scenes in `SHOWN_SCENES`.

    Parameters
    ----------
    names : iterable of str
        Setups, from `SETUPS`.
    seed : int
        Which of their models.

    Returns
    -------
    list of Path
        Palette PNGs in the kept results, one per setup and scene.
    """
    return [path for name in names for path in _write_predictions(name, fcn.load(checkpoint(name, seed)))]


def _write_predictions(name: str, model: fcn.FCN) -> list[Path]:
    """Keep a model's predictions for the scenes in `SHOWN_SCENES`."""
    dataset, folder = voc.VOCSegDataset(emojivoc.prepare(), "val"), RESULTS / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name.replace(' ', '-')}-{dataset.ids[index]}.png" for index in SHOWN_SCENES]
    for index, path in zip(SHOWN_SCENES, paths, strict=True):
        voc.write_mask(path, prediction.predict(model, dataset[index][0]))
    return paths


def kept_predictions(name: str) -> list[Tensor]:
    """Read the kept predictions of a setup.

    Parameters
    ----------
    name : str
        One of `SKIPS`, "void left out" or "void as background".

    Returns
    -------
    list of Tensor
        Class indices, uint8 (H, W), of the validation scenes in `SHOWN_SCENES`.

    Raises
    ------
    FileNotFoundError
        If no predictions are kept.
    """
    paths = sorted((RESULTS / "predictions").glob(f"{name.replace(' ', '-')}-*.png"))
    if not paths:
        command = "compare" if name in COMPARISONS else "train and score"
        raise FileNotFoundError(
            f"{RESULTS / 'predictions'}: no predictions of {name!r}; make them with "
            f"python -m d2lseg.experiments {command}"
        )
    return [voc.read_mask(path) for path in paths]


def mean_and_spread(name: str, column: str) -> tuple[float, float]:
    """Summarise a column of the kept scores over the seeds.

    Parameters
    ----------
    name : str
        One of `SETUPS`.
    column : str
        A column of the table "scores".

    Returns
    -------
    mean : float
        The mean over the seeds.
    spread : float
        The largest value minus the smallest.

    Raises
    ------
    ValueError
        If the table lacks the setup or the column.
    """
    rows = [row for row in read("scores") if row["setup"] == name]
    if not rows or column not in rows[0]:
        raise ValueError(f"the kept scores have no {column!r} of {name!r}")
    values = [float(row[column]) for row in rows]
    return statistics.mean(values), max(values) - min(values)


def _time(options: argparse.Namespace) -> None:
    """Measure and keep the table "speed"."""
    print(write("speed", measure()).read_text(encoding="utf-8"))


def _train(options: argparse.Namespace) -> None:
    """Train every missing checkpoint."""
    for name, seed, path in train_all(options.setups, options.seeds):
        print(f"{name}, seed {seed}: {read_checkpoint(path)['notes']}", flush=True)


def _score(options: argparse.Namespace) -> None:
    """Keep the table "scores" and the predictions that figures show."""
    rows = []
    for name, seed in itertools.product(options.setups, options.seeds):
        rows.append(_kept_row(name, seed) or score_one(name, seed))
        print(rows[-1], flush=True)
    write("scores", rows)
    keep_predictions(name for name in SKIPS if name in options.setups)


def _ship(options: argparse.Namespace) -> None:
    """Write the weights that come with the package as ``fcn.pretrained("emoji")``."""
    model = fcn.load(checkpoint(SHIPPED_SETUP, 0))
    content = halved(describe(model, **model.notes))
    print(write_checkpoint(Path(__file__).parent / "weights" / "emoji.pt", content))


def _compare(options: argparse.Namespace) -> None:
    """Run every missing comparison."""
    for name, seed in compare_all(options.seeds):
        print(f"{name}, seed {seed}: kept", flush=True)


def _own_data(options: argparse.Namespace) -> None:
    """Measure and keep the table "own_data"."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        dataset = own_data(Path(folder))
        for places, seed in itertools.product(OWN_PLACES, options.seeds):
            for row in own_rows(dataset, places, seed):
                rows.append(row)
                print(row, flush=True)
    write("own_data", rows)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; ``arguments`` defaults to that of the process."""
    actions = {"time": _time, "train": _train, "score": _score, "ship": _ship}
    actions |= {"compare": _compare, "own-data": _own_data}
    parser = argparse.ArgumentParser(
        prog="python -m d2lseg.experiments", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("what", choices=actions)
    parser.add_argument("--setups", nargs="+", default=list(SETUPS), choices=SETUPS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options = parser.parse_args(arguments)
    actions[options.what](options)


if __name__ == "__main__":
    main()
