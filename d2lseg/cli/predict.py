"""``python -m d2lseg predict``: masks, overlays and a legend for pictures of any size."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from .. import classes, fcn, plotting, prediction, voc
from ..engine import files
from .common import machine
from .errors import in_one_line

SUFFIXES = (*voc.IMAGE_SUFFIXES, ".bmp", ".tif", ".tiff", ".webp")
LEGEND = "legend.png"
BAND = 256  # rows of an overlay in work at a time: in floats a photo of 24 megapixels would take 290 MB


def run(options: argparse.Namespace) -> int:
    """Predict the classes in pictures.

    Parameters
    ----------
    options : argparse.Namespace
        As `options.make_parser` gives them.

    Returns
    -------
    int
        The exit status: 1 if a picture could not be read.
    """
    plan = plan_outputs(find_pictures(options.pictures), Path(options.out))
    failed, found = [], set()
    with machine(options) as here:
        model = fcn.load(options.checkpoint, here.device)
        table = model_classes(model)
        here.say(f"{options.checkpoint}: {len(table.names)} classes, {here}")
        for picture, targets in plan.items():
            try:
                image = voc.read_image(picture)
            except (ValueError, OSError) as error:
                print(f"error: {in_one_line(error)}", file=sys.stderr)
                failed.append(picture)
                continue
            label = _predict(options, model, image, here.precision)
            _write(image, label, targets, table)
            here.say(_shares(picture, label, table))
            found.update(plotting.classes_in(label))
    if found:
        _write_legend(Path(options.out) / LEGEND, found, table)
        done = f"{len(plan) - len(failed)} of {len(plan)} pictures"
        print(f"{done}: masks, overlays and {LEGEND} in {options.out}")
    if failed:
        print(f"error: {len(failed)} of {len(plan)} pictures could not be read", file=sys.stderr)
    return 1 if failed else 0


def find_pictures(places: Sequence[str]) -> list[Path]:
    """List the pictures that were asked for.

    Parameters
    ----------
    places : sequence of str
        Files, which are taken as they are, and folders, of which the pictures are taken that lie directly in
        them and are not hidden.

    Returns
    -------
    list of Path
        Those of a folder sorted, each file once.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If a folder has no picture.
    """
    found: dict[Path, Path] = {}
    for place in map(Path, places):
        inside = [place]
        if place.is_dir():
            inside = [path for path in sorted(place.iterdir()) if path.suffix.lower() in SUFFIXES]
            inside = [path for path in inside if path.is_file() and not path.name.startswith(".")]
            if not inside:
                raise ValueError(f"{place}: no picture in this folder; expected {', '.join(SUFFIXES)}")
        elif not place.exists():
            raise FileNotFoundError(f"{place}: no such file or folder")
        for path in inside:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def plan_outputs(pictures: Sequence[Path], out: Path) -> dict[Path, tuple[Path, Path]]:
    """Choose where the mask and the overlay of each picture go.

    Parameters
    ----------
    pictures : sequence of Path
        What will be read.
    out : Path
        The folder of the results.

    Returns
    -------
    dict of Path to (Path, Path)
        For each picture its mask and its overlay.

    Raises
    ------
    ValueError
        If a result would take the place of another one or of a picture.
    """
    plan = {p: (out / f"{p.stem}.png", out / f"{p.stem}_overlay.jpg") for p in pictures}
    # small and capital letters name the same file on some systems
    taken = {str(picture.resolve()).casefold(): f"the picture {picture} itself" for picture in pictures}
    taken[str((out / LEGEND).resolve()).casefold()] = "the legend"
    for picture, targets in plan.items():
        for target in targets:
            key = str(target.resolve()).casefold()
            if key in taken:
                raise ValueError(
                    f"{target}: the place of {taken[key]} and of a result of {picture}. Nothing was written; "
                    "rename one of them, or choose another --out"
                )
            taken[key] = f"a result of {picture}"
    return plan


def model_classes(model: fcn.FCN) -> classes.ClassList:
    """Tell how to name and to paint what a network finds.

    Parameters
    ----------
    model : FCN
        As `fcn.load` gives it.

    Returns
    -------
    ClassList
        Where the network knows no names, they are "class 0" and so on.
    """
    names = model.classes or tuple(f"class {i}" for i in range(model.arguments["num_classes"]))
    return classes.ClassList(names, model.colours)


def _predict(options: argparse.Namespace, model: fcn.FCN, image: Tensor, precision: str) -> Tensor:
    """Call `prediction.predict_tiled`."""
    return prediction.predict_tiled(
        model,
        image,
        tile=tuple(options.tile),
        overlap=options.overlap,
        batch_size=options.batch,
        window=options.window,
        precision=precision,
        live=sys.stderr.isatty(),
    )


def _write(image: Tensor, label: Tensor, targets: tuple[Path, Path], table: classes.ClassList) -> None:
    """Write a mask and an overlay; the overlay is painted over the image itself."""
    mask, overlay = targets
    with files.written_whole(mask) as file:
        voc.write_mask(file, label, table)
    for rows in torch.arange(image.shape[1]).split(BAND):
        band = slice(int(rows[0]), int(rows[-1]) + 1)
        image[:, band] = plotting.overlay(image[:, band], label[band], colormap=table.colormap)
    with files.written_whole(overlay) as file:
        Image.fromarray(plotting.to_numpy(image)).save(file, format="JPEG", quality=90)


def _shares(picture: Path, label: Tensor, table: classes.ClassList) -> str:
    """Say how much of a picture each class takes, the largest first."""
    counts = torch.bincount(label.flatten(), minlength=len(table.names)).tolist()
    order = sorted((c for c in range(len(counts)) if counts[c]), key=lambda c: -counts[c])
    shares = [f"{table.names[c]} {counts[c] / label.numel():.1%}" for c in order]
    height, width = label.shape
    return f"{picture} ({height}x{width}): {', '.join(shares)}"


def _write_legend(path: Path, found: set[int], table: classes.ClassList) -> None:
    """Draw the classes that were found in the colours of masks and overlays."""
    figure = Figure(figsize=(3, 0.4 + 0.25 * len(found)))
    if found == {0}:
        figure.text(0.5, 0.5, "only background was found", ha="center", va="center")
    names = {"class_names": table.names, "colormap": table.colormap}
    plotting.class_legend(figure, torch.tensor(sorted(found)), most=len(found), loc="center", **names)
    with files.written_whole(path) as file:
        figure.savefig(file, format="png", dpi=150)
