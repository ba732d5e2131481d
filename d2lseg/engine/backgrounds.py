"""Random backgrounds for drawn scenes: gradients, noise, textures, horizons, with clutter on them.

A painter takes (rng, height, width) and returns float32 (height, width, 3), values 0..255.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Rng = np.random.Generator


def _colour(rng: Rng) -> np.ndarray:
    """Return a random colour, float32 (3,): not black, not white, and seldom glaring."""
    colour = rng.uniform(25, 235, 3)
    return (colour + rng.uniform(0, 0.8) * (colour.mean() - colour)).astype(np.float32)


def _blend(t: np.ndarray, rng: Rng) -> np.ndarray:
    """Colour a map t (H, W) of values 0..1, from one random colour to another: (H, W, 3)."""
    a, b = _colour(rng), _colour(rng)
    return a + t[..., None] * (b - a)


def _smooth_noise(rng: Rng, height: int, width: int, cell: tuple[float, float]) -> np.ndarray:
    """Return noise (H, W) of values 0..1 whose blotches are about `cell` (rows, columns) pixels large."""
    rows, columns = (max(2, math.ceil(n / c) + 1) for n, c in zip((height, width), cell, strict=True))
    grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
    return np.clip(np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)), 0, 1)


def ramp(rng: Rng, height: int, width: int) -> np.ndarray:
    """Return a map, float32 (H, W), that rises from 0 to 1 across the image in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    t = x * math.cos(angle) + y * math.sin(angle)
    return (t - t.min()) / (t.max() - t.min())


def _gradient(rng: Rng, height: int, width: int) -> np.ndarray:
    """Paint a plain wall: one colour fading into another."""
    return _blend(ramp(rng, height, width), rng)


def _clouds(rng: Rng, height: int, width: int) -> np.ndarray:
    """Paint two-colour noise, large blotches with smaller ones on them."""
    t = sum(_smooth_noise(rng, height, width, (cell, cell)) * cell for cell in (40, 20, 10, 5)) / 75
    return _blend(np.clip(2 * t - 0.5, 0, 1), rng)


def _grain(rng: Rng, height: int, width: int) -> np.ndarray:
    """Paint a fine texture, stretched along one side, like grass, wood or cloth."""
    cell = rng.permutation([rng.uniform(2, 4), rng.uniform(3, 40)])
    return _blend(_smooth_noise(rng, height, width, tuple(cell)), rng)


def _stripes(rng: Rng, height: int, width: int) -> np.ndarray:
    """Paint stripes or checks of a random direction and period."""
    t = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(1, 3)):
        waves = math.hypot(height, width) / rng.uniform(14, 60)
        t += np.sin(2 * math.pi * waves * ramp(rng, height, width))
    sharpness = rng.uniform(0.7, 6)
    return _blend(np.clip(0.5 + 0.5 * sharpness * t, 0, 1), rng)


def _horizon(rng: Rng, height: int, width: int) -> np.ndarray:
    """Paint a landscape: one background above a hilly line, another below it."""
    sky, ground = (_PLAIN[i](rng, height, width) for i in rng.integers(len(_PLAIN), size=2))
    hills = _smooth_noise(rng, 1, width, (1, rng.uniform(20, 150)))[0] - 0.5
    line = height * (rng.uniform(0.3, 0.75) + rng.uniform(0, 0.3) * hills)
    below = np.arange(height)[:, None] > line[None, :]
    return np.where(below[..., None], ground, sky)


_PLAIN: tuple[Callable[[Rng, int, int], np.ndarray], ...] = (_gradient, _clouds, _clouds, _grain, _stripes)
_ALL = (*_PLAIN, _horizon, _horizon)


def _shape(rng: Rng, draw: ImageDraw.ImageDraw, height: int, width: int) -> None:
    """Draw one piece of clutter: a polygon, an ellipse or a bar."""
    centre = rng.uniform((0, 0), (width, height))
    radius = min(height, width) * rng.uniform(0.05, 0.3)
    colour = tuple(int(c) for c in _colour(rng))
    kind = rng.integers(3)
    if kind == 0:
        angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 8)))
        corners = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        draw.polygon([tuple(c) for c in corners.tolist()], fill=colour)
    elif kind == 1:
        half = radius * rng.uniform(0.4, 1, 2)
        draw.ellipse([*(centre - half).tolist(), *(centre + half).tolist()], fill=colour)
    else:
        end = centre + 3 * radius * rng.uniform(-1, 1, 2)
        draw.line([*centre.tolist(), *end.tolist()], fill=colour, width=int(rng.integers(2, 12)))


def draw_background(rng: Rng, height: int, width: int) -> Image.Image:
    """Draw a random background (RGB) with clutter on it, slightly out of focus."""
    paint = _ALL[rng.integers(len(_ALL))](rng, height, width)
    image = Image.fromarray(np.clip(paint, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.choice([0, 1, 2, 4])):
        _shape(rng, draw, height, width)
    return image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 1.2)))
