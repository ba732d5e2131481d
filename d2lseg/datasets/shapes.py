"""Draw the shapes of an annotation tool as labels: polygons, rectangles, circles, masks, lines and points."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..classes import VOID
from ..engine.class_tables import BACKGROUND, VOID_NAMES, means_void

FARTHEST = 10**6  # how many pixels outside the image a point may lie
LINES = ("line", "linestrip")  # shapes without an area, which need a width
POINTS = ("point", "points")

Point = tuple[float, float]  # (x, y) in pixels from the upper left corner of the image
Shape = Mapping[str, Any]  # as in a LabelMe file: "label", "points", "shape_type", "group_id", "mask"


def shape_mask(shape: Shape, height: int, width: int, line_width: int | None = None) -> np.ndarray:
    """Return which pixels of an image belong to a shape, as a bool array (height, width).

    The corner (x, y) lies in the pixel at column floor(x), row floor(y). A polygon has the pixels whose
    centres lie inside the polygon through the centres of its corners' pixels, by the even-odd rule, and the
    pixels of its outline, as ``PIL.ImageDraw`` draws it; LabelMe's own export does the same. It differs from
    the exact polygon only in pixels whose centre is less than 1.5 pixels from the outline; Pillow before 11.3
    draws a few more beside some polygons. A rectangle has all pixels from one corner's to the other's, a
    circle those whose centres lie inside it or on it. A line or a point has no area: with a line width it has
    the pixels whose centres are at most half that width away.

    Parameters
    ----------
    shape : mapping
        ``points`` is a list of [x, y]; ``shape_type`` says what they are: the corners of a "polygon" (the
        default) or an "oriented_rectangle", two opposite corners of a "rectangle", the centre of a "circle"
        and a point on it, or the box of a "mask", whose image is in ``mask``. A "rectangle" may have four
        corners, as newer tools write it, and a "rotation" is one that is turned. The points of a "line" or
        "linestrip" are joined, those of "point" and "points" are not.
    height, width : int
        Size of the image; what lies outside is cut off.
    line_width : int, optional
        Width in pixels of lines and points, which are refused without it.

    Raises
    ------
    ValueError
        If the type is unknown, or the points do not fit it.
    """
    kind = shape.get("shape_type") or "polygon"
    if kind in (*LINES, *POINTS):
        if line_width is None:
            raise ValueError(
                f"a {kind} has no area; give its width in pixels: --line-width 3, or line_width=3"
            )
        return _near(_points(shape, kind), height, width, line_width / 2, joined=kind in LINES)
    if not isinstance(kind, str) or kind not in _DRAW:
        raise ValueError(
            f"shape_type {kind!r}; expected {', '.join(_DRAW)}, which have an area, or a line or point. "
            "Delete the shape, or draw it again as a polygon"
        )
    canvas = Image.new("1", (width, height))
    _DRAW[kind](canvas, _points(shape, kind), shape)
    return np.array(canvas)


def _points(shape: Shape, kind: str) -> list[Point]:
    """Return the points of a shape, checked."""
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a {kind} without a list of points [x, y] ({error!r})") from error
    if not all(abs(value) < FARTHEST for point in points for value in point):  # false for NaN too
        raise ValueError(f"a {kind} with a point that is not a number, or {FARTHEST} pixels away or farther")
    counts, expected = _COUNTS.get(kind, ((2,), "2"))
    if len(points) not in counts:
        raise ValueError(f"a {kind} with {len(points)} points; expected {expected}")
    return points


_COUNTS: dict[str, tuple[range | tuple[int, ...], str]] = {
    "polygon": (range(3, 10**9), "3 or more"),
    "linestrip": (range(2, 10**9), "2 or more"),
    "points": (range(1, 10**9), "1 or more"),
    "point": ((1,), "1"),
    "oriented_rectangle": ((4,), "4"),
    "rotation": ((4,), "4"),
    "rectangle": ((2, 4), "2 or 4"),
}


def _near(points: list[Point], height: int, width: int, radius: float, joined: bool) -> np.ndarray:
    """Return the pixels whose centres are at most `radius` from the points, or from the line through them."""
    inside = np.zeros((height, width), bool)
    for (x1, y1), (x2, y2) in zip(points, points[1:] if joined else points, strict=False):
        # only the box around this piece is looked at: lines are many and short, images large
        left, right = _span(x1, x2, radius, width)
        top, bottom = _span(y1, y2, radius, height)
        x, y = np.arange(left, right) + 0.5 - x1, (np.arange(top, bottom) + 0.5 - y1)[:, None]
        dx, dy = x2 - x1, y2 - y1
        along = np.clip((x * dx + y * dy) / ((dx * dx + dy * dy) or 1), 0, 1)
        inside[top:bottom, left:right] |= np.hypot(x - along * dx, y - along * dy) <= radius
    return inside


def _span(first: float, second: float, radius: float, size: int) -> tuple[int, int]:
    """Return the pixels along one side that a piece of a line can reach."""
    low, high = min(first, second) - radius, max(first, second) + radius
    start = min(max(math.floor(low), 0), size)
    return start, max(start, min(math.ceil(high) + 1, size))


def _draw_polygon(canvas: Image.Image, points: list[Point], shape: Shape) -> None:
    corners = [(math.floor(x), math.floor(y)) for x, y in points]
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)


def _draw_rectangle(canvas: Image.Image, points: list[Point], shape: Shape) -> None:
    if len(points) == 4:  # corner after corner, and possibly turned
        return _draw_polygon(canvas, points, shape)
    left, right = sorted(math.floor(x) for x, _ in points)
    top, bottom = sorted(math.floor(y) for _, y in points)
    ImageDraw.Draw(canvas).rectangle([left, top, right, bottom], fill=1)


def _draw_circle(canvas: Image.Image, points: list[Point], shape: Shape) -> None:
    (x, y), on_circle = points
    rows, columns = np.ogrid[: canvas.height, : canvas.width]
    inside = np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= math.dist((x, y), on_circle)
    canvas.paste(Image.fromarray(inside))


def _draw_mask(canvas: Image.Image, points: list[Point], shape: Shape) -> None:
    """Paste the shape's own image, whose values other than 0 belong to it, at the corner of its box."""
    left, top = (math.floor(value) for value in points[0])
    try:
        content = base64.b64decode(shape["mask"], validate=True)
        with Image.open(io.BytesIO(content)) as image:
            inside = np.array(image.convert("L")) > 0
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"a mask without an encoded image ({error!r})") from error
    canvas.paste(1, (left, top), Image.fromarray(inside))


_DRAW: dict[str, Callable[[Image.Image, list[Point], Shape], None]] = {
    "polygon": _draw_polygon,
    "oriented_rectangle": _draw_polygon,
    "rotation": _draw_polygon,
    "rectangle": _draw_rectangle,
    "circle": _draw_circle,
    "mask": _draw_mask,
}


def class_index(label: Any, names: Sequence[str]) -> int | None:
    """Return the index that a label means: that of a class, 0, 255 for void, or None if it is unknown."""
    if label in names:
        return names.index(label)
    if label == BACKGROUND:  # LabelMe's own name for "no object"
        return 0
    return VOID if isinstance(label, str) and means_void(label) else None


def occurring(labels: Iterable[str]) -> list[str]:
    """Return the labels that are classes above 0, each once, in their order: no void, and no background."""
    no_class = ("background", BACKGROUND)
    return [name for name in dict.fromkeys(labels) if not means_void(name) and name not in no_class]


def shapes_label(
    shapes: Sequence[Shape], height: int, width: int, names: Sequence[str], line_width: int | None = None
) -> np.ndarray:
    """Draw the shapes of an image, later ones over earlier ones, as a uint8 label (height, width).

    A shape whose label `means_void` becomes 255. One labelled "_background_", or with the name of
    class 0, is a hole: if it has a ``group_id``, it is cut out of the other shapes of that group, and what
    they cover shows through; if not, it becomes background.

    Parameters
    ----------
    shapes : sequence of mapping
        As in a LabelMe file, see `shape_mask`.
    height, width : int
        Size of the image.
    names : sequence of str
        Name of each class index, background first.
    line_width : int, optional
        Width in pixels of lines and points, see `shape_mask`.

    Raises
    ------
    ValueError
        If a label is not a class, or a shape cannot be drawn; the message has its number and label.
    """
    drawn = []
    for number, shape in enumerate(shapes, start=1):
        name = shape.get("label")
        index = class_index(name, names)
        if index is None:
            raise ValueError(
                f"shape {number} has the label {name!r}; expected one of {', '.join(names)}, or "
                f"{' or '.join(VOID_NAMES)}. Correct it, or add it to the classes"
            )
        try:
            drawn.append((index, shape.get("group_id"), shape_mask(shape, height, width, line_width)))
        except ValueError as error:
            raise ValueError(f"shape {number}, {name!r}: {error}") from error
    label = np.zeros((height, width), np.uint8)
    for index, group, mask in drawn:
        if index == 0 and group is not None:
            continue  # a hole in its group, cut out below
        for other, its_group, hole in drawn:
            if other == 0 and group is not None and its_group == group:
                mask = mask & ~hole
        label[mask] = index
    return label
