"""Browse the images of a dataset in VOC layout."""

from __future__ import annotations

import html
from pathlib import Path

import ipywidgets as widgets
from matplotlib.figure import Figure
from torch import Tensor

from ..classes import VOC, VOID, ClassList
from ..plotting import class_legend, overlay, to_numpy
from ..voc import VOCSegDataset, label2image
from .explorer import png

VIEWS = ("image", "overlay", "mask")
FIGSIZE, DPI = (7.5, 4.0), 80  # the same for every image, so that nothing jumps
NAMED = 10  # classes named in the caption


def compose(
    image: Tensor, label: Tensor, view: str = "overlay", opacity: float = 0.6, classes: ClassList = VOC
) -> Tensor:
    """Return the pixels of one view of an image.

    Parameters
    ----------
    image : Tensor
        uint8, (3, H, W).
    label : Tensor
        Class indices, (H, W); 255 is void.
    view : {"image", "overlay", "mask"}
        The image, the mask laid over it, or the mask alone.
    opacity : float
        Opacity of the overlay, 0..1.
    classes : ClassList
        Source of the mask's colours.

    Returns
    -------
    Tensor
        uint8, (3, H, W).

    Raises
    ------
    ValueError
        If there is no such view, or the sizes differ.
    """
    if view not in VIEWS:
        raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view!r}")
    if view == "image":
        return image
    if view == "mask":
        return label2image(label, classes.colormap)
    return overlay(image, label, opacity, classes.colormap)


def describe(name: str, label: Tensor, classes: ClassList = VOC) -> str:
    """Return a caption: ID, size, and the share of each class, largest first.

    Parameters
    ----------
    name : str
        ID of the image.
    label : Tensor
        Class indices, (H, W); 255 is void.
    classes : ClassList
        Source of the class names. Only the ten largest classes are named.
    """
    values, counts = label.unique(return_counts=True)
    shares = sorted(zip(counts.tolist(), values.tolist(), strict=True), reverse=True)
    names = {VOID: "void"} | dict(enumerate(classes.names))
    parts = [f"{names[index]} {count / label.numel():.1%}" for count, index in shares[:NAMED]]
    parts += [f"and {len(shares) - NAMED} more"] if len(shares) > NAMED else []
    return f"{name}: {label.shape[0]} x {label.shape[1]} pixels; {', '.join(parts)}"


def draw(
    image: Tensor,
    label: Tensor,
    view: str = "overlay",
    opacity: float = 0.6,
    title: str = "",
    classes: ClassList = VOC,
) -> Figure:
    """Draw one view of an image, with the legend of its classes, in a figure of fixed size.

    Parameters
    ----------
    image : Tensor
        uint8, (3, H, W).
    label : Tensor
        Class indices, (H, W); 255 is void.
    view : {"image", "overlay", "mask"}
        As in `compose`.
    opacity : float
        Opacity of the overlay, 0..1.
    title : str
        Title above the image.
    classes : ClassList
        Source of the names and colours.
    """
    figure = Figure(figsize=FIGSIZE, dpi=DPI)
    ax = figure.add_axes((0.01, 0.02, 0.76, 0.9))
    ax.imshow(to_numpy(compose(image, label, view, opacity, classes)), interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(title, fontsize=10)
    class_legend(
        figure,
        label,
        class_names=classes.names,
        colormap=classes.colormap,
        loc="center left",
        bbox_to_anchor=(0.78, 0.5),
    )
    return figure


class DatasetBrowser(widgets.VBox):
    """Choose a list, an image, a view and the opacity of the overlay.

    Parameters
    ----------
    voc_dir : str or Path
        A folder in VOC layout; names and colours come from its classes, see `voc.folder_classes`.
    split : str, optional
        The list to start with; by default the first of train, val and the others.
    index : int
        The image to start with.
    opacity : float
        Initial opacity of the overlay, 0..1.

    Raises
    ------
    FileNotFoundError
        If the folder has no list, or a listed file is missing.

    Notes
    -----
    The attribute ``pixels`` holds the view that is shown, uint8 (3, H, W), and ``label`` its class indices.
    `draw` makes the same figure without a widget.
    """

    def __init__(
        self, voc_dir: str | Path, split: str | None = None, index: int = 0, opacity: float = 0.6
    ) -> None:
        lists = sorted(path.stem for path in Path(voc_dir).glob("ImageSets/Segmentation/*.txt"))
        lists.sort(key=lambda name: {"train": 0, "val": 1}.get(name, 2))
        self.voc_dir, self.dataset = voc_dir, VOCSegDataset(voc_dir, split or (lists or ["train"])[0])
        wide = {"style": {"description_width": "70px"}, "layout": {"width": "340px"}}
        self.split = widgets.Dropdown(options=lists, value=self.dataset.split, description="list", **wide)
        self.index = widgets.IntSlider(index, 0, len(self.dataset) - 1, description="image", **wide)
        self.view = widgets.Dropdown(options=VIEWS, value="overlay", description="show", **wide)
        self.opacity = widgets.FloatSlider(opacity, min=0, max=1, step=0.05, description="opacity", **wide)
        width, height = (f"{int(inches * DPI)}px" for inches in FIGSIZE)
        size = {"width": width, "height": height, "min_height": height}
        self.image = widgets.Image(format="png", layout=size)
        self.caption = widgets.HTML(layout={"height": "48px"})
        self._show()
        self.split.observe(self._on_split, names="value")
        for control in (self.index, self.view, self.opacity):
            control.observe(self._show, names="value")
        rows = [widgets.HBox([self.split, self.view]), widgets.HBox([self.index, self.opacity])]
        super().__init__([*rows, self.image, self.caption])

    def _on_split(self, change: dict) -> None:
        """Open another list at its first image."""
        try:
            self.dataset = VOCSegDataset(self.voc_dir, change["new"])
        except (FileNotFoundError, ValueError) as error:
            self._show_error(error)
            return
        self.index.value = 0
        self.index.max = len(self.dataset) - 1
        self._show()

    def _show(self, _change: dict | None = None) -> None:
        """Update the image and its caption to match the controls."""
        name = self.dataset.ids[self.index.value]
        try:
            image, self.label = self.dataset[self.index.value]
        except ValueError as error:
            self._show_error(error)
            return
        view, opacity, classes = self.view.value, self.opacity.value, self.dataset.class_list
        self.pixels = compose(image, self.label, view, opacity, classes)
        self.image.value = png(draw(image, self.label, view, opacity, name, classes))
        self.caption.value = html.escape(describe(name, self.label, classes))

    def _show_error(self, error: Exception) -> None:
        """Show an error in the caption, because Jupyter may hide one that is raised in a callback."""
        figure = Figure(figsize=FIGSIZE, dpi=DPI)
        figure.text(0.5, 0.5, "This image cannot be shown; the reason is below.", ha="center")
        self.image.value = png(figure)
        self.caption.value = html.escape(str(error))
