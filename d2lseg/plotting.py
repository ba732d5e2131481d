"""Pictures of tensors: images, labels, overlays with a legend, small matrices, scores.

Every function draws with matplotlib and returns the axes, so a notebook can add to the picture. No function
here knows a model or a dataset folder: names and colours are VOC's unless others are given. Those of a
dataset are ``dataset.classes`` and ``dataset.class_list.colormap``, of a model ``model.classes`` and
``model.colormap``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from torch import Tensor

from .classes import VOC_CLASSES, VOC_COLORMAP, VOID, VOID_COLOR, voc_colormap
from .voc import label2image

# Okabe and Ito, "Color universal design", 2008: eight colours that colour-blind readers can tell apart.
# Black stands for background, the others are handed out to the classes of one picture in turn.
OKABE_ITO = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
LEGEND_ENTRIES = 24  # more do not fit beside two rows of pictures
BARS = 40
TICKS = 40

Colormap = Sequence[tuple[int, int, int]]


def to_numpy(image: Tensor | np.ndarray) -> np.ndarray:
    """Bring an image into matplotlib's order.

    Parameters
    ----------
    image : Tensor or ndarray
        (3, H, W), (1, H, W) or (H, W); uint8 in 0..255 or float in 0..1.

    Returns
    -------
    ndarray
        (H, W, 3) or (H, W), same dtype; floats are clipped to 0..1.

    Raises
    ------
    ValueError
        If the shape is none of these.
    """
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] not in (1, 3)):
        raise ValueError(f"expected an image of shape (3, H, W), (1, H, W) or (H, W), got {array.shape}")
    if array.ndim == 3:
        array = array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)  # (3, H, W) -> (H, W, 3)
    return array.clip(0, 1) if array.dtype.kind == "f" else array


def show_images(
    images: Sequence[Tensor],
    num_rows: int,
    num_cols: int,
    titles: Sequence[str] | None = None,
    scale: float = 1.5,
) -> np.ndarray:
    """Draw a grid of images, row by row.

    Parameters
    ----------
    images : sequence of Tensor
        Each (3, H, W) or (H, W), uint8 or float in 0..1; sizes may differ.
    num_rows, num_cols : int
        The grid. Places without an image stay empty.
    titles : sequence of str, optional
        One for each image.
    scale : float
        Size of one place in inches.

    Returns
    -------
    ndarray of Axes
        Flat, ``num_rows * num_cols`` long.
    """
    _, axes = plt.subplots(
        num_rows,
        num_cols,
        figsize=(num_cols * scale, num_rows * scale),
        squeeze=False,
        layout="constrained",
    )
    axes = axes.flatten()
    for ax in axes:
        ax.set_axis_off()
    for i, (ax, image) in enumerate(zip(axes, images, strict=False)):
        ax.imshow(to_numpy(image), cmap="gray")
        if titles:
            ax.set_title(titles[i], fontsize=9)
    return axes


def show_matrix(
    matrix: Tensor, ax: Axes | None = None, title: str | None = None, fmt: str = "{:g}", cmap: str = "Blues"
) -> Axes:
    """Draw a small matrix as coloured cells with the numbers written in them.

    Parameters
    ----------
    matrix : Tensor
        (H, W), any real dtype; up to about 20 x 20 stays legible.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Put above the matrix.
    fmt : str
        Format of one number.
    cmap : str
        A matplotlib colour map.

    Returns
    -------
    Axes
        The axes drawn on.
    """
    values = np.asarray(matrix.detach().cpu() if isinstance(matrix, Tensor) else matrix, dtype=float)
    height, width = values.shape
    if ax is None:
        _, ax = plt.subplots(figsize=(0.5 * width + 0.4, 0.5 * height + 0.6), layout="constrained")
    ax.imshow(values, cmap=cmap)
    middle = (values.min() + values.max()) / 2
    for (row, col), number in np.ndenumerate(values):
        # white on dark cells, black on light ones
        colour = "white" if number > middle else "black"
        ax.text(col, row, fmt.format(number), ha="center", va="center", color=colour, fontsize=9)
    ax.set(xticks=[], yticks=[])
    if title:
        ax.set_title(title, fontsize=10)
    return ax


def palette_for(
    labels: Sequence[Tensor], palette: str | Colormap = "voc"
) -> tuple[tuple[int, int, int], ...]:
    """Choose the colour of each class.

    Parameters
    ----------
    labels : sequence of Tensor
        The labels that will be drawn together, class indices.
    palette : {"voc", "safe"} or sequence of (int, int, int)
        ``"voc"`` is the fixed colour map of Pascal VOC. ``"safe"`` gives the classes of these labels the
        colour-blind-safe colours of Okabe and Ito in turn; with more than seven object classes they repeat.
        Or the colours themselves, RGB of each class.

    Returns
    -------
    tuple of (int, int, int)
        RGB in 0..255, one for each class index.

    Raises
    ------
    ValueError
        If the palette has another name.
    """
    if not isinstance(palette, str):
        return tuple(palette)
    objects = [c for c in classes_in(*labels) if c not in (0, VOID)]
    count = max([len(VOC_COLORMAP), *(c + 1 for c in objects)])
    if palette == "voc":
        return VOC_COLORMAP if count == len(VOC_COLORMAP) else voc_colormap(count)
    if palette != "safe":
        raise ValueError(f'palette must be "voc", "safe" or the colours of the classes, got {palette!r}')
    colours = [OKABE_ITO[0]] * count
    for i, c in enumerate(objects):
        colours[c] = OKABE_ITO[1 + i % (len(OKABE_ITO) - 1)]
    return tuple(colours)


def classes_in(*labels: Tensor) -> list[int]:
    """List the class indices that occur in some labels.

    Parameters
    ----------
    *labels : Tensor
        Class indices, any integer dtype and shape.

    Returns
    -------
    list of int
        Sorted, without repetition; 255 last where void occurs.
    """
    return sorted({int(c) for label in labels for c in label.unique()})


def overlay(
    image: Tensor,
    label: Tensor,
    opacity: float = 0.6,
    colormap: Colormap = VOC_COLORMAP,
) -> Tensor:
    """Lay the colours of a label over its image; background pixels keep the image.

    Parameters
    ----------
    image : Tensor
        uint8, (3, H, W).
    label : Tensor
        Class indices, (H, W); void (255) is drawn in its own pale colour.
    opacity : float
        0 shows the image alone, 1 the colours alone.
    colormap : sequence of (int, int, int)
        RGB of each class.

    Returns
    -------
    Tensor
        uint8, (3, H, W).

    Raises
    ------
    ValueError
        If the sizes differ or the opacity is outside 0..1.
    """
    if image.shape[-2:] != label.shape:
        raise ValueError(
            f"image is {tuple(image.shape[-2:])} and label {tuple(label.shape)}: sizes must agree"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie in 0..1, got {opacity}")
    colours = label2image(label, colormap).float()
    mixed = (1 - opacity) * image.float() + opacity * colours
    return torch.where(label == 0, image, mixed.round().to(torch.uint8))


def class_legend(
    target: Axes | plt.Figure,
    *labels: Tensor,
    class_names: Sequence[str] = VOC_CLASSES,
    colormap: Colormap = VOC_COLORMAP,
    most: int = LEGEND_ENTRIES,
    **legend_options,
) -> None:
    """Add a legend with the classes that occur in the labels.

    Parameters
    ----------
    target : Axes or Figure
        What gets the legend.
    *labels : Tensor
        Class indices; background is left out, void is named "void".
    class_names : sequence of str
        Name of each class index.
    colormap : sequence of (int, int, int)
        RGB of each class index.
    most : int
        So many entries at most. Of more classes those with the most pixels are named, and the others counted.
    **legend_options
        Passed on to matplotlib's ``legend``.

    Raises
    ------
    ValueError
        If a class has no name.
    """
    found = [c for c in classes_in(*labels) if c != 0]
    _check_names([c for c in found if c != VOID], class_names)
    shown = found if len(found) <= most else _largest(labels, most - 1)
    handles = []
    for c in shown:
        colour, name = (VOID_COLOR, "void") if c == VOID else (colormap[c], class_names[c])
        handles.append(Patch(facecolor=np.array(colour) / 255, edgecolor="gray", label=name))
    if len(shown) < len(found):
        handles.append(Patch(facecolor="none", label=f"and {len(found) - len(shown)} more"))
    if handles:
        target.legend(handles=handles, **{"fontsize": 8, "frameon": False} | legend_options)


def _largest(labels: Sequence[Tensor], count: int) -> list[int]:
    """Give the classes with the most pixels, background left out, sorted."""
    pixels = sum(torch.bincount(label.flatten().long().cpu(), minlength=256) for label in labels)
    pixels[0] = 0
    return sorted(pixels.argsort(descending=True)[:count].tolist())


def show_scenes(
    images: Sequence[Tensor],
    labels: Sequence[Tensor],
    class_names: Sequence[str] = VOC_CLASSES,
    opacity: float = 0.6,
    palette: str | Colormap = "voc",
    scale: float = 2.0,
) -> np.ndarray:
    """Draw images in the upper row and their overlays in the lower one, with a legend.

    Parameters
    ----------
    images : sequence of Tensor
        uint8, (3, H, W) each.
    labels : sequence of Tensor
        Class indices, (H, W) each.
    class_names : sequence of str
        Name of each class index.
    opacity : float
        Of the overlay, 0..1.
    palette : {"voc", "safe"} or sequence of (int, int, int)
        See `palette_for`; ``model.colormap`` or ``dataset.class_list.colormap`` for classes of one's own.
    scale : float
        Size of one picture in inches.

    Returns
    -------
    ndarray of Axes
        Shape (2, number of images).
    """
    rows = [("image", lambda i: images[i]), ("label", lambda i: labels[i])]
    return _show_rows(images, labels, rows, class_names, opacity, palette, scale)


def show_predictions(
    images: Sequence[Tensor],
    predictions: Sequence[Tensor],
    labels: Sequence[Tensor],
    class_names: Sequence[str] = VOC_CLASSES,
    opacity: float = 0.75,
    palette: str | Colormap = "voc",
    scale: float = 2.0,
) -> np.ndarray:
    """Draw three rows, image, prediction and truth, with one legend.

    Parameters
    ----------
    images : sequence of Tensor
        uint8, (3, H, W) each.
    predictions, labels : sequence of Tensor
        Class indices, (H, W) each.
    class_names : sequence of str
        Name of each class index.
    opacity : float
        Of the overlays, 0..1.
    palette : {"voc", "safe"} or sequence of (int, int, int)
        See `palette_for`; ``model.colormap`` or ``dataset.class_list.colormap`` for classes of one's own.
    scale : float
        Size of one picture in inches.

    Returns
    -------
    ndarray of Axes
        Shape (3, number of images).
    """
    return show_comparison(images, {"prediction": predictions}, labels, class_names, opacity, palette, scale)


def show_comparison(
    images: Sequence[Tensor],
    predictions: Mapping[str, Sequence[Tensor]],
    labels: Sequence[Tensor],
    class_names: Sequence[str] = VOC_CLASSES,
    opacity: float = 0.75,
    palette: str | Colormap = "voc",
    scale: float = 2.0,
) -> np.ndarray:
    """Draw images, what several models say of them, and the truth below each other, with one legend.

    Parameters
    ----------
    images : sequence of Tensor
        uint8, (3, H, W) each.
    predictions : mapping of str to sequence of Tensor
        For each row its name and one prediction for each image, class indices (H, W).
    labels : sequence of Tensor
        The truth, class indices (H, W) each.
    class_names : sequence of str
        Name of each class index.
    opacity : float
        Of the overlays, 0..1.
    palette : {"voc", "safe"} or sequence of (int, int, int)
        See `palette_for`; ``model.colormap`` or ``dataset.class_list.colormap`` for classes of one's own.
    scale : float
        Size of one picture in inches.

    Returns
    -------
    ndarray of Axes
        Shape (2 + number of predicted rows, number of images).

    Raises
    ------
    ValueError
        If a row has not one label for each image.
    """
    drawn = {**predictions, "truth": labels}
    for name, row in drawn.items():
        if len(row) != len(images):
            raise ValueError(f"the row {name!r} holds {len(row)} labels for {len(images)} images")
    # each row's function looks a picture up; the default argument ties it to its own row
    rows = [("image", lambda i: images[i])]
    rows += [(name, lambda i, row=row: row[i]) for name, row in drawn.items()]
    everything = [label for row in drawn.values() for label in row]
    return _show_rows(images, everything, rows, class_names, opacity, palette, scale)


def _show_rows(
    images: Sequence[Tensor],
    labels: Sequence[Tensor],
    rows: Sequence[tuple[str, Callable[[int], Tensor]]],
    class_names: Sequence[str],
    opacity: float,
    palette: str | Colormap,
    scale: float,
) -> np.ndarray:
    """Draw named rows of pictures; a picture of two dimensions is a label, laid over its image."""
    colormap = palette_for(labels, palette)
    figure, axes = plt.subplots(
        len(rows),
        len(images),
        figsize=(scale * len(images) + 1.2, scale * 0.8 * len(rows)),
        squeeze=False,
        layout="constrained",
    )
    for (name, picture_of), line in zip(rows, axes, strict=True):
        for i, ax in enumerate(line):
            picture = picture_of(i)
            shown = picture if picture.ndim == 3 else overlay(images[i], picture, opacity, colormap)
            ax.imshow(to_numpy(shown))
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=10)
    class_legend(figure, *labels, class_names=class_names, colormap=colormap, loc="outside right center")
    return axes


def plot_class_iou(
    per_class: Tensor, class_names: Sequence[str] = VOC_CLASSES, ax: Axes | None = None, most: int = BARS
) -> Axes:
    """Draw the IoU of each class as horizontal bars, best on top, absent classes left out.

    Parameters
    ----------
    per_class : Tensor
        (C,), IoU in 0..1, NaN where a class is absent.
    class_names : sequence of str
        Name of each class index.
    ax : Axes, optional
        Where to draw; a new figure by default.
    most : int
        So many bars at most, 2 or more. Of more classes the best and the worst are drawn.

    Returns
    -------
    Axes
        The axes drawn on, with a dashed line at the mean of all classes.

    Raises
    ------
    ValueError
        If a class has no name.
    """
    present = [c for c in range(len(per_class)) if not per_class[c].isnan()]
    _check_names(present, class_names)
    order = sorted(present, key=lambda c: float(per_class[c]))
    if len(present) > most:
        order = order[: most // 2] + order[-(most // 2) :]
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 0.22 * len(order) + 0.9), layout="constrained")
    ax.barh([class_names[c] for c in order], [float(per_class[c]) for c in order], color="#0072b2")
    mean = float(per_class.nanmean())
    ax.axvline(mean, color="#d55e00", linestyle="--", label=f"mean {mean:.2f}")
    ax.set(xlim=(0, 1), xlabel="intersection over union")
    if len(order) < len(present):
        ax.set_title(f"the best {most // 2} and the worst {most // 2} of {len(present)} classes", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.legend(loc="lower right", fontsize=8)
    return ax


def _check_names(classes: Sequence[int], class_names: Sequence[str]) -> None:
    """Refuse too few names."""
    if classes and classes[-1] >= len(class_names):
        raise ValueError(
            f"class {classes[-1]} has no name, there are {len(class_names)}; give those of the dataset: "
            "class_names=dataset.classes"
        )


def plot_confusion(matrix: Tensor, class_names: Sequence[str] = VOC_CLASSES, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix, each row divided by its sum.

    Parameters
    ----------
    matrix : Tensor
        int64 counts, (C, C), rows = truth, columns = prediction.
    class_names : sequence of str
        Name of each class index. Of more than 40 classes only every second, third ... is written.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        The axes drawn on; a colour bar says what share of the true class a cell holds.

    Raises
    ------
    ValueError
        If a class has no name.
    """
    _check_names(range(len(matrix)), class_names)
    shares = matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)
    if ax is None:
        side = max(3.2, 0.24 * min(len(matrix), TICKS) + 1.6)  # less has no room for the bar's label
        _, ax = plt.subplots(figsize=(side + 0.6, side), layout="constrained")
    picture = ax.imshow(shares.cpu().numpy(), cmap="viridis", vmin=0, vmax=1)
    written = range(0, len(matrix), -(-len(matrix) // TICKS))
    names = [class_names[c] for c in written]
    ax.set_xticks(written, names, rotation=90, fontsize=8)
    ax.set_yticks(written, names, fontsize=8)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.figure.colorbar(picture, ax=ax, label="share of the true class's pixels", shrink=0.8)
    return ax
