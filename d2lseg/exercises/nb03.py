"""Checks for notebook 03, the data."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import fcn, plotting, voc
from ..classes import VOID
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Failure, Fault, call, check


@check("Count the labels that are 0, and those that are not 255. Which of the two counts can be 0?")
def background_share(answer: Any) -> Fault:
    """Check exercise 03.1, a function label -> share of background among the labelled pixels."""
    cases = [
        ("half background, half dog", [[0, 0], [12, 12]], 0.5),
        ("one background, one cat, two void", [[0, 8], [255, 255]], 0.5),
        ("background and void only", [[0, 0, 0], [255, 255, 255]], 1.0),
        ("no background", [[3, 3, 255]], 0.0),
        ("nothing but void", [[255, 255]], 0.0),
    ]
    for what, pixels, want in cases:
        got = float(call(answer, torch.tensor(pixels, dtype=torch.uint8)))
        if not math.isclose(got, want, abs_tol=1e-5):
            return f"for {what}, {pixels}: expected {want}, got {got:g}"
    return None


@check(
    "-h % 32 is how many rows are missing to the next multiple of 32. Fill with voc.MEAN_COLOR and voc.VOID.",
    withhold=[fcn.pad_to_multiple],
)
def pad_to_32(answer: Any) -> Fault:
    """Check exercise 03.2, a function (image, label) -> both padded at the right and the bottom."""
    for h, w in [(64, 32), (33, 31), (50, 96), (1, 1)]:
        image, label = _pair(h, w)
        height, width = h - h % -32, w - w % -32
        got, case = call(answer, image.clone(), label.clone()), f"for an image of {h} x {w}"
        if fault := _pair_fault(got, (height, width), case):
            return fault
        want_label = torch.full((height, width), VOID, dtype=torch.uint8)
        want_label[:h, :w] = label
        if not torch.equal(got[1], want_label):
            return _label_fault(got[1], want_label, case)
        if not torch.equal(got[0][:, :h, :w], image):
            return f"{case}: the image itself has changed, or is not at the top left of the result"
        padding = got[0][:, ~_inside(h, w, height, width)]  # (3, H, W) -> (3, pixels of the padding)
        if wrong := {tuple(colour) for colour in padding.T.tolist()} - {voc.MEAN_COLOR}:
            return f"{case}: expected the padding {voc.MEAN_COLOR}, got {wrong.pop()}"
    return None


@check("Undo the last step first. Which byte is 40.9999, and which is 256?")
def to_bytes(answer: Any) -> Fault:
    """Check exercise 03.3, a function standardised image -> uint8 image."""
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    image = torch.cat([ramp, ramp.flip(1), ramp.flip(2)])  # (3, 16, 16): every byte in every channel
    got = call(answer, fcn.Standardize()(image[None])[0])
    if not isinstance(got, Tensor) or got.dtype != torch.uint8 or got.shape != image.shape:
        return f"expected a uint8 tensor (3, 16, 16), got {_kind(got)}"
    if not torch.equal(got, image):
        channel, row, column = (got != image).nonzero()[0].tolist()
        place = (channel, row, column)
        return f"the byte {int(image[place])} of channel {channel} came back as {int(got[place])}"
    for value, want in [(9.0, 255), (-9.0, 0)]:
        byte = int(call(answer, torch.full((3, 1, 1), value))[0, 0, 0])
        if byte != want:
            return f"for the value {value:g}, which is out of the range of bytes: expected {want}, got {byte}"
    return None


@check(
    'F.interpolate takes size=(height, width) and mode="bilinear" or "nearest-exact", on (N, C, H, W).',
    withhold=[voc.voc_rand_scale],
)
def rescale(answer: Any) -> Fault:
    """Check exercise 03.4, a function (image, label, factor) -> both scaled."""
    for h, w, factor in [(20, 24, 2.0), (37, 30, 0.75), (41, 22, 1.3), (16, 16, 0.5)]:
        image, label = _pair(h, w)
        if factor < 1:  # smooth, so that all good ways of shrinking give nearly the same
            image = (3 * torch.arange(h)[:, None] + torch.arange(w)).to(torch.uint8).expand(3, h, w)
        size, case = (round(h * factor), round(w * factor)), f"for {h} x {w} and factor {factor:g}"
        got = call(answer, image.clone(), label.clone(), factor)
        if fault := _pair_fault(got, size, case):
            return fault
        want, shifted = (
            F.interpolate(label[None, None], size, mode=f"nearest{m}")[0, 0] for m in ("-exact", "")
        )
        if torch.equal(got[1], shifted) and not torch.equal(want, shifted):
            return f"{case}: mode 'nearest' picks the first pixel of each group, not the one in the middle"
        if not torch.equal(got[1], want):
            return _label_fault(got[1], want, case)
        smooth = F.interpolate(image[None].float(), size, mode="bilinear")[0]
        different = (got[0] - smooth).abs() > (1 if factor > 1 else 4)
        if different.any():
            place = tuple(different.nonzero()[0].tolist())
            found = f"at {place} expected about {smooth[place]:.0f}, got {int(got[0][place])}"
            return f"{case}: the image differs from what bilinear scaling gives; {found}"
    return None


def _pair(h: int, w: int) -> tuple[Tensor, Tensor]:
    """Make a random image, and a label with an object in a ring of void."""
    generator = torch.Generator().manual_seed(h * w)
    image = torch.randint(0, 256, (3, h, w), generator=generator, dtype=torch.uint8)
    label = torch.zeros(h, w, dtype=torch.uint8)
    label[h // 4 : h, w // 4 : w - w // 4] = VOID
    label[h // 4 + 2 : h - 2, w // 4 + 2 : w - w // 4 - 2] = 15
    return image, label


def _inside(h: int, w: int, height: int, width: int) -> Tensor:
    """Return a mask (height, width) of the image without its padding."""
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[:h, :w] = True
    return inside


def _kind(got: Any) -> str:
    """Describe what a student's function returned."""
    if not isinstance(got, Tensor):
        return type(got).__name__
    return f"a {str(got.dtype).removeprefix('torch.')} tensor {tuple(got.shape)}"


def _pair_fault(got: Any, size: tuple[int, int], case: str) -> str | None:
    """Check that the answer is a uint8 image and a uint8 label of a given size."""
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return f"{case}: expected a pair (image, label), got {_kind(got)}"
    for name, part, shape in [("image", got[0], (3, *size)), ("label", got[1], tuple(size))]:
        if not isinstance(part, Tensor) or part.dtype != torch.uint8 or part.shape != shape:
            return f"{case}: expected the {name} as a uint8 tensor {shape}, got {_kind(part)}"
    return None


def _label_fault(got: Tensor, want: Tensor, case: str) -> Failure:
    """Name the first wrong label, and draw both."""
    invented = sorted(set(got.unique().tolist()) - set(want.unique().tolist()))
    row, column = (got != want).nonzero()[0].tolist()
    message = f"at {(row, column)} expected label {int(want[row, column])}, got {int(got[row, column])}"
    if invented:
        message = f"the new label has values that the original does not have: {invented[:5]}"
    return Failure(f"{case}: {message}", functools.partial(_draw_labels, want, got))


def _draw_labels(want: Tensor, got: Tensor) -> None:
    """Draw two labels side by side."""
    plotting.show_images([want, got], 1, 2, titles=["expected label", "yours"], scale=2.2)
