"""``python -m d2lseg predict``: masks, overlays and a legend for images of any size."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from .. import classes, fcn, plotting, prediction, voc
from ..engine import files, images
from .common import machine, trained_model
from .errors import in_one_line

LEGEND = "legend.png"
BAND = 256  # rows of an overlay to paint at once: in floats, a photo of 24 megapixels would take 290 MB


def run(options: argparse.Namespace) -> int:
    """Predict the classes in images, and return the exit status: 1 if an image could not be read."""
    plan = plan_outputs(find_images(options.images), files.user_path(options.out))
    failed, found = 0, set()
    with machine(options) as here:
        model = trained_model(options.checkpoint, here.device)
        table = model_classes(model)
        here.say(f"{options.checkpoint}: {len(table.names)} classes, {here}")
        for path, targets in plan.items():
            try:
                image = voc.read_image(path)
                for odd in images.oddities(path):
                    print(f"warning: {path}: {'; '.join(odd)}", file=sys.stderr)
            except (ValueError, OSError) as error:
                print(f"error: {in_one_line(error)}", file=sys.stderr)
                failed += 1
                continue
            label = prediction.predict_tiled(
                model,
                image,
                tile=tuple(options.tile),
                overlap=options.overlap,
                batch_size=options.batch,
                window=options.window,
                precision=here.precision,
                live=sys.stderr.isatty(),
            )
            write_results(image, label, targets, table)
            here.say(_shares(path, label, table))
            found.update(plotting.classes_in(label))
    if found:
        write_legend(files.user_path(options.out) / LEGEND, found, table)
        done = f"{len(plan) - failed} of {len(plan)} images"
        print(f"{done}: masks, overlays and {LEGEND} in {options.out}")
    if failed:
        print(f"error: {failed} of {len(plan)} images could not be read", file=sys.stderr)
    return 1 if failed else 0


def find_images(places: Sequence[str]) -> list[Path]:
    """Return the given files, and the visible images directly inside the given folders, each once.

    Raises
    ------
    FileNotFoundError
        If a file or folder does not exist.
    ValueError
        If a folder contains no image.
    """
    found: dict[Path, Path] = {}
    for place in (path for given in places for path in _expanded(given)):
        inside = [place]
        if place.is_dir():
            inside = [path for path in sorted(place.iterdir()) if images.is_image_file(path)]
            if not inside:
                raise ValueError(
                    f"{place}: no images in this folder; expected files of a kind that PIL reads"
                )
        elif not place.exists():
            raise FileNotFoundError(f"{place}: no such file or folder; check the path")
        for path in inside:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _expanded(place: str) -> list[Path]:
    """Return a path with its ``~``, or the paths of a pattern such as *.jpg, which Windows leaves to us."""
    path = files.user_path(place)
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(path)))] or [path]


def plan_outputs(images: Sequence[Path], out: Path) -> dict[Path, tuple[Path, Path]]:
    """Return where in the folder `out` the mask and the overlay of each image go.

    Raises ValueError if a result would replace another result or an image.
    """
    plan = {path: (out / f"{path.stem}.png", out / f"{path.stem}_overlay.jpg") for path in images}
    # on some systems, names that differ only in case are the same file
    taken = {str(path.resolve()).casefold(): f"the image {path} itself" for path in images}
    taken[str((out / LEGEND).resolve()).casefold()] = "the legend"
    for path, targets in plan.items():
        for target in targets:
            key = str(target.resolve()).casefold()
            if key in taken:
                raise ValueError(
                    f"{target}: the name of both {taken[key]} and a result of {path}. Nothing was written; "
                    "rename one of them, or choose another --out"
                )
            taken[key] = f"a result of {path}"
    return plan


def model_classes(model: fcn.FCN) -> classes.ClassList:
    """Return the names and colours of a network's classes; without names they are "class 0" and so on."""
    names = model.classes or tuple(f"class {i}" for i in range(model.arguments["num_classes"]))
    return classes.ClassList(names, model.colours)


def write_results(image: Tensor, label: Tensor, targets: tuple[Path, Path], table: classes.ClassList) -> None:
    """Write the mask and the overlay of an image to the two targets; the image itself is painted over."""
    mask, overlay = targets
    with files.written_whole(mask) as file:
        voc.write_mask(file, label, table)
    for top in range(0, image.shape[1], BAND):
        band = slice(top, top + BAND)
        image[:, band] = plotting.overlay(image[:, band], label[band], colormap=table.colormap)
    with files.written_whole(overlay) as file:
        Image.fromarray(plotting.to_numpy(image)).save(file, format="JPEG", quality=90)


def _shares(path: Path, label: Tensor, table: classes.ClassList) -> str:
    """Return how much of an image each class takes, in words, the largest first."""
    counts = torch.bincount(label.flatten(), minlength=len(table.names))
    order = [c for c in counts.argsort(descending=True, stable=True).tolist() if counts[c]]
    shares = [f"{table.names[c]} {int(counts[c]) / label.numel():.1%}" for c in order]
    height, width = label.shape
    return f"{path} ({height}x{width}): {', '.join(shares)}"


def write_legend(path: Path, found: set[int], table: classes.ClassList) -> None:
    """Draw the classes that were found, in the colours of the masks and overlays."""
    figure = Figure(figsize=(3, 0.4 + 0.25 * len(found)))
    if found == {0}:
        figure.text(0.5, 0.5, "only background was found", ha="center", va="center")
    plotting.class_legend(
        figure,
        torch.tensor(sorted(found)),
        class_names=table.names,
        colormap=table.colormap,
        most=len(found),
        loc="center",
    )
    with files.written_whole(path) as file:
        figure.savefig(file, format="png", dpi=150)
