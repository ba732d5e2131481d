"""From an image to a class for each pixel, in one piece or in overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .engine.devices import autocast
from .engine.images import AnyImage, as_rgb
from .voc import label2image as label2image  # for readers of the textbook, who look for it here

WINDOWS = ("flat", "smooth")  # the weights of a tile's pixels, see `tiled_logits`
TILE = (768, 768)
OVERLAP = 128
PHOTOS = ("chelsea", "astronaut", "grace_hopper")  # sources and rights: photos/NOTICE.md


@contextmanager
def _evaluating(model: nn.Module, precision: str | None) -> Iterator[None]:
    """Hold a model in eval mode without gradients, and restore its mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        # no_grad: in inference_mode autocast would cast all weights again for each tile
        with torch.no_grad(), autocast(_device(model), precision or "float32"):
            yield
    finally:
        model.train(was_training)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _score(model: nn.Module, images: Tensor) -> Tensor:
    """Call the model and check what it returns: (N, 3, H, W) -> (N, C, H, W)."""
    logits = model(images.to(_device(model)))
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits)
    expected = (len(images), *images.shape[2:])
    if not isinstance(logits, Tensor) or logits.ndim != 4 or (found[0], *found[2:]) != expected:
        raise ValueError(
            f"the model returned {found} for images {tuple(images.shape)}; expected logits (N, C, H, W), "
            "with the N, H and W of the images. Wrap it in a module that returns logits"
        )
    return logits


def predict_logits(model: nn.Module, image: AnyImage, precision: str | None = None) -> Tensor:
    """Score each class at each pixel of one image: float32 (C, H, W) on the CPU.

    The image is a path, a PIL image, a uint8 array (H, W, 3) or a uint8 RGB tensor (3, H, W).

    The model maps uint8 (1, 3, H, W) to logits (1, C, H, W); its mode is restored afterwards. It computes in
    `precision`: float32 by default; `devices.best_precision` returns the fastest.
    """
    rgb = as_rgb(image)
    with _evaluating(model, precision):
        return _score(model, rgb[None])[0].float().cpu()  # (1, C, H, W) -> (C, H, W)


def sample_photo(name: str) -> Path:
    """Return the path of a photograph that ships with the course: a cat and two portraits, see `PHOTOS`."""
    if name not in PHOTOS:
        raise ValueError(f"name must be one of {', '.join(PHOTOS)}; got {name!r}")
    return Path(__file__).parent / "photos" / f"{name}.jpg"


def predict(model: nn.Module, image: AnyImage, precision: str | None = None) -> Tensor:
    """Predict the class of each pixel of one image: uint8 (H, W) on the CPU.

    The parameters are those of `predict_logits`.
    """
    return _classes(predict_logits(model, image, precision))


def _classes(logits: Tensor) -> Tensor:
    """Choose the best class: (C, H, W) -> uint8 (H, W). Like argmax, in a third of its time on a CPU."""
    return logits.max(dim=0).indices.to(torch.uint8)


def tile_starts(size: int, tile: int, overlap: int) -> list[int]:
    """Return the first pixel of each tile along one side of an image; together they cover 0..size-1.

    Neighbouring tiles share `overlap` pixels. The last tile may reach past the image.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap must lie in 0..{tile - 1} for tiles of {tile} pixels, got {overlap}")
    step = tile - overlap
    # a further tile is needed only while the last one does not reach the end
    count = 1 + max(0, -(-(size - tile) // step))
    return [i * step for i in range(count)]


class Side:
    """The tiles along one side of an image.

    Attributes
    ----------
    spans : list of slice
        The pixels of each tile. The last tile is cut where the image ends, never moved back: then its cells
        would not lie on the grid of the others.
    weights : list of Tensor
        float32 (length,) for each tile. At each pixel the weights of all covering tiles sum to one.
    finished : list of int
        How many of a tile's pixels, from its start, no later tile covers.
    """

    def __init__(self, size: int, tile: int, overlap: int, window: str) -> None:
        starts = tile_starts(size, tile, overlap)
        self.spans = [slice(start, min(start + tile, size)) for start in starts]
        profile = torch.ones(tile)
        if window == "smooth":  # a hat: nearly zero at both ends
            rising = torch.arange(tile) + 0.5
            profile = torch.minimum(rising, tile - rising)
        total = torch.zeros(size)
        for span in self.spans:
            total[span] += profile[: span.stop - span.start]
        self.weights = [profile[: span.stop - span.start] / total[span] for span in self.spans]
        self.finished = [stop - start for start, stop in zip(starts, [*starts[1:], size], strict=True)]

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        """Yield the numbers of neighbouring tiles of the same length, at most `batch_size` at a time."""
        lengths = [span.stop - span.start for span in self.spans]
        for _, group in groupby(range(len(lengths)), key=lengths.__getitem__):
            numbers = list(group)
            yield from (numbers[i : i + batch_size] for i in range(0, len(numbers), batch_size))


def _sides(
    image: Tensor, tile: tuple[int, int], overlap: int, window: str, batch_size: int, stride: int
) -> tuple[Side, Side]:
    """Check the options, and place the tiles along the rows and along the columns."""
    if len(tile) != 2 or min(tile) < 1 or any(size % stride for size in (*tile, overlap)):
        raise ValueError(
            f"tile is {tile} and overlap {overlap}; expected (height, width) and an overlap in multiples of "
            f"{stride} pixels, the stride, such as {TILE} and {OVERLAP}: otherwise the cells of one tile do "
            "not lie on those of the next"
        )
    if window not in WINDOWS:
        raise ValueError(f"window must be one of {', '.join(WINDOWS)}; got {window!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return Side(image.shape[1], tile[0], overlap, window), Side(image.shape[2], tile[1], overlap, window)


def _bands(
    model: nn.Module, image: Tensor, rows: Side, columns: Side, batch_size: int, live: bool
) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Yield (rows, columns) and averaged logits (C, h, w) of each band of an image when it is finished.

    Bands lie across the image and follow each other along its longer side. The float32 logits, on the model's
    device, are valid until the next band: their buffer is as high as a tile, and keeps what the next tiles
    share.
    """
    wide = image.shape[2] > image.shape[1]  # then all is turned: a band of rows is one of columns
    along, across = (columns, rows) if wide else (rows, columns)
    image = image.mT if wide else image
    band, everything = torch.empty(0), slice(0, image.shape[2])
    with tqdm(total=len(rows.spans) * len(columns.spans), disable=not live, unit="tile") as bar:
        for number, (span, weight) in enumerate(zip(along.spans, along.weights, strict=True)):
            if number:
                _move_up(band, along.finished[number - 1])
            for numbers in across.batches(batch_size):
                tiles = torch.stack([image[:, span, across.spans[i]] for i in numbers])
                scores = _score(model, tiles.mT.contiguous()).mT if wide else _score(model, tiles)
                if band.numel() == 0:
                    size = scores.shape[1], len(weight), everything.stop
                    band = torch.zeros(size, device=scores.device)
                for i, logits in zip(numbers, scores, strict=True):
                    share = torch.outer(weight, across.weights[i]).to(band.device)  # (h, w)
                    band[:, : len(weight), across.spans[i]].addcmul_(logits, share)
                bar.update(len(numbers))
            finished = along.finished[number]
            done, logits = slice(span.start, span.start + finished), band[:, :finished]
            yield ((everything, done), logits.mT) if wide else ((done, everything), logits)


def scored_parts(
    model: nn.Module, images: Tensor, tile: tuple[int, int] = TILE, overlap: int = OVERLAP
) -> Iterator[tuple[Any, Tensor]]:
    """Yield the logits (..., C, h, w) of a batch part by part, each with its place in the labels (N, H, W).

    A batch that fits into a tile is one part. Of larger images, the logits of one band exist at a time.
    """
    if images.shape[2] <= tile[0] and images.shape[3] <= tile[1]:
        yield ..., model(images.to(_device(model)))
        return
    for number, image in enumerate(images):
        sides = _sides(image, tile, overlap, "flat", 1, stride=32)
        for place, logits in _bands(model, image, *sides, batch_size=1, live=False):
            yield (number, *place), logits


def _move_up(band: Tensor, rows: int) -> None:
    """Drop the first rows of (C, H, W), and append as many rows of zeros."""
    rest = band[:, rows:].clone()
    band[:, : rest.shape[1]] = rest
    band[:, rest.shape[1] :] = 0


def tiled_logits(
    model: nn.Module,
    image: AnyImage,
    tile: tuple[int, int] = TILE,
    overlap: int = OVERLAP,
    window: str = "flat",
    batch_size: int = 1,
    precision: str | None = None,
    stride: int = 32,
    live: bool = False,
) -> Tensor:
    """Score an image tile by tile and average the logits where tiles overlap: float32 (C, H, W) on the CPU.

    That is 84 bytes a pixel for 21 classes; `predict_tiled` never holds them all.

    A pixel sees only part of the image: for the FCNs on ResNet-18 hardly anything more than 250 pixels away
    along a side, and nothing beyond 276. The result is exact, the logits of the whole image, wherever each
    covering tile contains this receptive field or ends with the image.

    Parameters
    ----------
    model, image, precision
        As in `predict_logits`.
    tile : (int, int)
        Height and width of a tile in pixels, multiples of the stride, so that the cells of all tiles lie on
        the grid of the whole image.
    overlap : int
        Pixels that neighbouring tiles share, a multiple of the stride and less than either side of a tile.
    window : {"flat", "smooth"}
        The weights of a tile's pixels in the average: all equal, or a hat in each direction that is lower
        towards the sides, where the tile sees least context, so that no seam shows.
    batch_size : int
        Tiles that go through the model at once, from one band of tiles.
    stride : int
        Pixels for each cell of the model's last map: `fcn.STRIDE`, or 1 for a model without strides.
    live : bool
        Show a progress bar.
    """
    rgb = as_rgb(image)
    sides = _sides(rgb, tile, overlap, window, batch_size, stride)
    with _evaluating(model, precision):
        bands = [logits.to("cpu", copy=True) for _, logits in _bands(model, rgb, *sides, batch_size, live)]
    return torch.cat(bands, dim=2 if rgb.shape[2] > rgb.shape[1] else 1)


def predict_tiled(
    model: nn.Module,
    image: AnyImage,
    tile: tuple[int, int] = TILE,
    overlap: int = OVERLAP,
    window: str = "flat",
    batch_size: int = 1,
    precision: str | None = None,
    stride: int = 32,
    live: bool = False,
) -> Tensor:
    """Predict the class of each pixel from overlapping tiles: uint8 (H, W) on the CPU.

    Logits are averaged, not classes: two tiles that are each unsure can be sure together. The averages exist
    for one band of tiles at a time, across the image. The parameters are those of `tiled_logits`. An image
    that fits into one tile gives the result of `predict`.
    """
    rgb = as_rgb(image)
    sides = _sides(rgb, tile, overlap, window, batch_size, stride)
    labels = torch.empty(rgb.shape[1:], dtype=torch.uint8)
    with _evaluating(model, precision):
        for place, logits in _bands(model, rgb, *sides, batch_size, live):
            labels[place] = _classes(logits)
    return labels
