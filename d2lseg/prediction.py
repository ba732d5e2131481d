"""From an image to a class for each pixel, in one piece or in overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .voc import label2image

__all__ = ["label2image", "predict", "predict_logits", "predict_tiled", "tile_starts", "tiled_logits"]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Hold a model in eval mode without gradients, and put its mode back afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def _check_image(image: Tensor) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise ValueError(
            f"expected one uint8 RGB image (3, H, W), got {image.dtype} {tuple(image.shape)}; "
            "voc.read_image(path) reads a file in this form"
        )


def predict_logits(model: nn.Module, image: Tensor) -> Tensor:
    """Score each class at each pixel of one image.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (1, 3, H, W) to logits (1, C, H, W). Its mode is restored afterwards.
    image : Tensor
        uint8 RGB, (3, H, W), any size.

    Returns
    -------
    Tensor
        float32 on the CPU, (C, H, W).

    Raises
    ------
    ValueError
        If the image has another dtype or shape.
    """
    _check_image(image)
    device = next(model.parameters()).device
    with _evaluating(model):
        return model(image[None].to(device))[0].float().cpu()  # (1, C, H, W) -> (C, H, W)


def predict(model: nn.Module, image: Tensor) -> Tensor:
    """Predict the class of each pixel of one image.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (1, 3, H, W) to logits (1, C, H, W).
    image : Tensor
        uint8 RGB, (3, H, W), any size.

    Returns
    -------
    Tensor
        Class indices, uint8, (H, W).

    Raises
    ------
    ValueError
        If the image has another dtype or shape.
    """
    return predict_logits(model, image).argmax(dim=0).to(torch.uint8)


def tile_starts(size: int, tile: int, overlap: int) -> list[int]:
    """Place tiles along one side of an image.

    Parameters
    ----------
    size, tile, overlap : int
        Pixels. Neighbouring tiles share ``overlap`` pixels; the last one may reach past the image.

    Returns
    -------
    list of int
        First pixel of each tile; together the tiles cover 0..size-1.

    Raises
    ------
    ValueError
        If the overlap is negative or not smaller than the tile.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap must lie in 0..{tile - 1} for tiles of {tile} pixels, got {overlap}")
    step = tile - overlap
    # a further tile is needed only while the last one does not reach the end
    count = 1 + max(0, -(-(size - tile) // step))
    return [i * step for i in range(count)]


def tiled_logits(model: nn.Module, image: Tensor, tile: tuple[int, int], overlap: int = 64) -> Tensor:
    """Score a large image tile by tile and average the logits where tiles overlap.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (1, 3, H, W) to logits (1, C, H, W).
    image : Tensor
        uint8 RGB, (3, H, W).
    tile : (int, int)
        Height and width of a tile in pixels. With tile and overlap both multiples of the model's stride (32),
        the cells of all tiles lie on the grid of the whole image.
    overlap : int
        Pixels that neighbouring tiles share, less than either side of a tile.

    Returns
    -------
    Tensor
        float32, (C, H, W).

    Raises
    ------
    ValueError
        If the image, the tile or the overlap is not as described.
    """
    _check_image(image)
    height, width = image.shape[-2:]
    total, count = None, torch.zeros(height, width)
    for top in tile_starts(height, tile[0], overlap):
        for left in tile_starts(width, tile[1], overlap):
            window = (..., slice(top, top + tile[0]), slice(left, left + tile[1]))
            logits = predict_logits(model, image[window])  # (C, h, w), h and w smaller at the far edges
            if total is None:
                total = torch.zeros(len(logits), height, width)
            total[window] += logits
            count[window] += 1
    return total / count


def predict_tiled(
    model: nn.Module, image: Tensor, tile: tuple[int, int] = (320, 480), overlap: int = 64
) -> Tensor:
    """Predict the class of each pixel of a large image from overlapping tiles.

    Logits are averaged, not classes: two tiles that are each unsure can be sure together.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (1, 3, H, W) to logits (1, C, H, W).
    image : Tensor
        uint8 RGB, (3, H, W).
    tile : (int, int)
        Height and width of a tile in pixels.
    overlap : int
        Pixels that neighbouring tiles share.

    Returns
    -------
    Tensor
        Class indices, uint8, (H, W).

    Raises
    ------
    ValueError
        If the image, the tile or the overlap is not as described.
    """
    return tiled_logits(model, image, tile, overlap).argmax(dim=0).to(torch.uint8)
