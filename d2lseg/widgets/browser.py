"""Leaf through the pictures of a folder in VOC layout."""

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
FIGSIZE, DPI = (7.5, 4.0), 80  # the same for every picture, so that nothing jumps
NAMED = 10  # classes named in the caption


def compose(
    image: Tensor, label: Tensor, view: str = "overlay", opacity: float = 0.6, classes: ClassList = VOC
) -> Tensor:
    """Put together what one view of a picture shows.

    Parameters
    ----------
    image : Tensor
        uint8, (3, H, W).
    label : Tensor
        Class indices, (H, W); 255 is void.
    view : {"image", "overlay", "mask"}
        The photograph, the mask laid over it, or the mask alone.
    opacity : float
        Of the overlay, 0..1.
    classes : ClassList
        Their colours are painted.

    Returns
    -------
    Tensor
        uint8, (3, H, W).

    Raises
    ------
    ValueError
        If the view has another name, or the sizes differ.
    """
    if view not in VIEWS:
        raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view!r}")
    if view == "image":
        return image
    if view == "mask":
        return label2image(label, classes.colormap)
    return overlay(image, label, opacity, classes.colormap)


def describe(name: str, label: Tensor, classes: ClassList = VOC) -> str:
    """Say what a picture holds.

    Parameters
    ----------
    name : str
        Its ID.
    label : Tensor
        Class indices, (H, W); 255 is void.
    classes : ClassList
        Their names are told.

    Returns
    -------
    str
        ID, size, and each class's share of all pixels, largest first; after ten the others are counted.
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
    """Draw one view of a picture, with the legend of its classes.

    Parameters
    ----------
    image : Tensor
        uint8, (3, H, W).
    label : Tensor
        Class indices, (H, W); 255 is void.
    view : {"image", "overlay", "mask"}
        The photograph, the mask laid over it, or the mask alone.
    opacity : float
        Of the overlay, 0..1.
    title : str
        Written above.
    classes : ClassList
        Names and colours.

    Returns
    -------
    matplotlib.figure.Figure
        Always of the same size.

    Raises
    ------
    ValueError
        If the view has another name, or the sizes differ.
    """
    figure = Figure(figsize=FIGSIZE, dpi=DPI)
    ax = figure.add_axes((0.01, 0.02, 0.76, 0.9))
    ax.imshow(to_numpy(compose(image, label, view, opacity, classes)), interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(title, fontsize=10)
    names = {"class_names": classes.names, "colormap": classes.colormap}
    class_legend(figure, label, **names, loc="center left", bbox_to_anchor=(0.78, 0.5))
    return figure


class DatasetBrowser(widgets.VBox):
    """Choose a list, a picture, a view and the opacity of the overlay.

    Parameters
    ----------
    voc_dir : str or Path
        A folder in VOC layout; names and colours are those of its classes, see `voc.folder_classes`.
    split : str, optional
        The list shown at the start; by default the first of train, val and the others.
    index : int
        The picture shown at the start.
    opacity : float
        Opacity of the overlay at the start, 0..1.

    Raises
    ------
    FileNotFoundError
        Where the folder has no list, or a listed file is missing.

    Notes
    -----
    The picture is a PNG in an ``ipywidgets.Image`` of fixed size. ``picture`` holds its pixels, uint8 (3, H,
    W), and ``label`` the class indices; ``draw`` makes the same picture without any widget.
    """

    def __init__(
        self, voc_dir: str | Path, split: str | None = None, index: int = 0, opacity: float = 0.6
    ) -> None:
        lists = sorted(path.stem for path in Path(voc_dir).glob("ImageSets/Segmentation/*.txt"))
        lists.sort(key=lambda name: {"train": 0, "val": 1}.get(name, 2))
        self.voc_dir, self.dataset = voc_dir, VOCSegDataset(voc_dir, split or (lists or ["train"])[0])
        wide = {"style": {"description_width": "70px"}, "layout": {"width": "340px"}}
        self.split = widgets.Dropdown(options=lists, value=self.dataset.split, description="list", **wide)
        self.index = widgets.IntSlider(index, 0, len(self.dataset) - 1, description="picture", **wide)
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
        """Go to the first picture of another list."""
        try:
            self.dataset = VOCSegDataset(self.voc_dir, change["new"])
        except (FileNotFoundError, ValueError) as error:
            self._refuse(error)
            return
        self.index.value = 0
        self.index.max = len(self.dataset) - 1
        self._show()

    def _show(self, _change: dict | None = None) -> None:
        """Bring picture and caption in line with the controls."""
        name = self.dataset.ids[self.index.value]
        try:
            image, self.label = self.dataset[self.index.value]
        except ValueError as error:
            self._refuse(error)
            return
        view, opacity, classes = self.view.value, self.opacity.value, self.dataset.class_list
        self.picture = compose(image, self.label, view, opacity, classes)
        self.image.value = png(draw(image, self.label, view, opacity, name, classes))
        self.caption.value = html.escape(describe(name, self.label, classes))

    def _refuse(self, error: Exception) -> None:
        """Show what is wrong with a file: an error raised in a callback would be seen by nobody."""
        figure = Figure(figsize=FIGSIZE, dpi=DPI)
        figure.text(0.5, 0.5, "cannot be shown, see below", ha="center")
        self.image.value = png(figure)
        self.caption.value = html.escape(str(error))
