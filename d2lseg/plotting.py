"""Figures of tensors: images, labels, overlays with a legend, small matrices, scores.

Every function draws with matplotlib and returns the axes, so a notebook can add to the figure. No function
here knows a model or a dataset folder. Names and colours are VOC's unless you pass others: those of a dataset
are ``dataset.classes`` and ``dataset.class_list.colormap``, those of a model ``model.classes`` and
``model.colormap``. Images are uint8 (3, H, W), labels and predictions class indices (H, W) with 255 = void.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from torch import Tensor

from .classes import VOC_CLASSES, VOC_COLORMAP, VOID, VOID_COLOR, voc_colormap
from .voc import label2image

# Okabe and Ito, "Color universal design", 2008: eight colours that colour-blind readers can tell apart.
# Black stands for background, the others are given to the classes of one figure in turn.
OKABE_ITO = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115),
    (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
LEGEND_ENTRIES = 24  # more do not fit beside two rows of images
BARS = 40
TICKS = 40

Colormap = Sequence[tuple[int, int, int]]


def to_numpy(image: Tensor | np.ndarray) -> np.ndarray:
    """Convert an image (3, H, W), (1, H, W) or (H, W) to (H, W, 3) or (H, W), with floats clipped to 0..1."""
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = image.float() if image.dtype == torch.bfloat16 else image  # which NumPy does not have
    array = np.asarray(image)
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
    """Draw a grid of images of any sizes, row by row, and return its axes, flat; empty places stay empty.

    The images are (3, H, W) or (H, W), uint8 or float in 0..1. `scale` is the size of one place in inches.
    """
    size = (num_cols * scale, num_rows * scale)
    _, axes = plt.subplots(num_rows, num_cols, figsize=size, squeeze=False, layout="constrained")
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
    """Draw a small matrix (H, W), up to about 20 x 20, as coloured cells with the numbers written in them."""
    values = np.asarray(matrix.detach().cpu().double() if isinstance(matrix, Tensor) else matrix, dtype=float)
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
    """Return the colours of all classes in some labels that are drawn together.

    ``"voc"`` is the fixed colormap of Pascal VOC. ``"safe"`` gives the classes of these labels the
    colour-blind-safe colours of Okabe and Ito in turn; with more than seven object classes they repeat.
    Colours, one RGB triple a class, are returned as they are.
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
    """Return the class indices that occur in some labels, sorted; 255 (void) is last."""
    return sorted({int(c) for label in labels for c in label.unique()})


def overlay(image: Tensor, label: Tensor, opacity: float = 0.6, colormap: Colormap = VOC_COLORMAP) -> Tensor:
    """Blend a label's colours into its image, uint8 (3, H, W); background pixels keep the image.

    Opacity 0 shows the image alone, 1 the colours alone. Void has a pale colour of its own.
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
    """Add to axes or a figure a legend of the classes in the labels, without background.

    If there are more than `most`, those with the most pixels are named and the others counted. The options
    are passed on to matplotlib's ``legend``.
    """
    found = [c for c in classes_in(*labels) if c != 0]
    _check_names([c for c in found if c != VOID], class_names)
    shown = found if len(found) <= most else _largest(labels, most - 1)
    handles = []
    for c in shown:
        colour, name = (VOID_COLOR, "void") if c == VOID else (colormap[c], class_names[c])
        handles.append(Patch(facecolor="#{:02x}{:02x}{:02x}".format(*colour), edgecolor="gray", label=name))
    if len(shown) < len(found):
        handles.append(Patch(facecolor="none", label=f"and {len(found) - len(shown)} more"))
    if handles:
        target.legend(handles=handles, **{"fontsize": 8, "frameon": False} | legend_options)


def _largest(labels: Sequence[Tensor], count: int) -> list[int]:
    """Return the classes with the most pixels, without background, sorted."""
    counts = [torch.bincount(label.flatten().long().cpu(), minlength=256) for label in labels]
    pixels = torch.stack(counts).sum(0)
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
    """Draw a row of images and a row of their overlays, with a legend; return the axes (2, N).

    Palettes are described at `palette_for`; `scale` is the size of one image in inches.
    """
    return _show_rows(images, {"label": labels}, class_names, opacity, palette, scale)


def show_predictions(
    images: Sequence[Tensor],
    predictions: Sequence[Tensor],
    labels: Sequence[Tensor],
    class_names: Sequence[str] = VOC_CLASSES,
    opacity: float = 0.75,
    palette: str | Colormap = "voc",
    scale: float = 2.0,
) -> np.ndarray:
    """Draw three rows, image, prediction and truth, with one legend; return the axes (3, N)."""
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
    """Draw images, the predictions of several models by name, and the truth; return the axes (2 + models, N).

    Palettes are described at `palette_for`; `scale` is the size of one image in inches.
    """
    rows = {**predictions, "truth": labels}
    return _show_rows(images, rows, class_names, opacity, palette, scale)


def _show_rows(
    images: Sequence[Tensor],
    rows: Mapping[str, Sequence[Tensor]],
    class_names: Sequence[str],
    opacity: float,
    palette: str | Colormap,
    scale: float,
) -> np.ndarray:
    """Draw the images, and below them named rows of labels laid over them."""
    for name, row in rows.items():
        if len(row) != len(images):
            raise ValueError(f"row {name!r} has {len(row)} labels for {len(images)} images; expected as many")
    labels = [label for row in rows.values() for label in row]
    colormap = palette_for(labels, palette)
    shape = (1 + len(rows), len(images))
    size = (scale * shape[1] + 1.2, scale * 0.8 * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
    drawn = {"image": images}
    for name, row in rows.items():
        drawn[name] = [overlay(*pair, opacity, colormap) for pair in zip(images, row, strict=True)]
    for line, (name, row) in zip(axes, drawn.items(), strict=True):
        for ax, image in zip(line, row, strict=True):
            ax.imshow(to_numpy(image))
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=10)
    class_legend(figure, *labels, class_names=class_names, colormap=colormap, loc="outside right center")
    return axes


def plot_class_iou(
    per_class: Tensor, class_names: Sequence[str] = VOC_CLASSES, ax: Axes | None = None, most: int = BARS
) -> Axes:
    """Draw the IoU (C,) of each class as bars, best on top, NaN left out, with a dashed line at the mean.

    If there are more than `most` classes, only the best and the worst are drawn.
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
    if classes and classes[-1] >= len(class_names):
        raise ValueError(
            f"class {classes[-1]} has no name, there are {len(class_names)}; pass those of the dataset: "
            "class_names=dataset.classes"
        )


def plot_confusion(matrix: Tensor, class_names: Sequence[str] = VOC_CLASSES, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix (C, C) of counts, each row (a true class) divided by its sum.

    Of more than 40 classes only every second, third ... name is written.
    """
    _check_names(range(len(matrix)), class_names)
    shares = matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)
    if ax is None:
        side = max(3.2, 0.24 * min(len(matrix), TICKS) + 1.6)  # below 3.2 the bar's label does not fit
        _, ax = plt.subplots(figsize=(side + 0.6, side), layout="constrained")
    cells = ax.imshow(shares.cpu().numpy(), cmap="viridis", vmin=0, vmax=1)
    written = range(0, len(matrix), -(-len(matrix) // TICKS))
    names = [class_names[c] for c in written]
    ax.set_xticks(written, names, rotation=90, fontsize=8)
    ax.set_yticks(written, names, fontsize=8)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.figure.colorbar(cells, ax=ax, label="share of the true class's pixels", shrink=0.8)
    return ax
