"""Checks of notebook 03, the data."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F

from .. import fcn, plotting, voc
from ._engine import Failure, call, check


@check("Count the labels that are 0, and those that are not 255. Which of the two counts can be 0?")
def background_share(answer):
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


@check("-h % 32 is what h lacks to the next multiple of 32. Fill with voc.MEAN_COLOR and voc.VOID.")
def pad_to_32(answer):
    """Check exercise 03.2, a function (image, label) -> both padded right and bottom."""
    for h, w in [(64, 32), (33, 31), (50, 96), (1, 1)]:
        image, label = _pair(h, w)
        height, width = h - h % -32, w - w % -32
        got = call(answer, image.clone(), label.clone())
        if fault := _pair_fault(got, (height, width), f"for a picture of {h} x {w}"):
            return fault
        want_label = torch.full((height, width), voc.VOID, dtype=torch.uint8)
        want_label[:h, :w] = label
        if not torch.equal(got[1], want_label):
            return _label_fault(got[1], want_label, f"for a picture of {h} x {w}")
        if not torch.equal(got[0][:, :h, :w], image):
            return (
                f"for a picture of {h} x {w}: the image itself has changed, or does not start at the top left"
            )
        filling = got[0].flatten(1)[:, (want_label == voc.VOID).flatten() & ~_inside(h, w, height, width)]
        if wrong := {tuple(colour) for colour in filling.T.tolist()} - {voc.MEAN_COLOR}:
            return f"for a picture of {h} x {w}: expected the filling {voc.MEAN_COLOR}, got {wrong.pop()}"


@check("Undo the last step first. Which byte is 40.9999, and which is 256?")
def to_bytes(answer):
    """Check exercise 03.3, a function standardised image -> uint8 image."""
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    image = torch.cat([ramp, ramp.flip(1), ramp.flip(2)])  # (3, 16, 16): every byte in every channel
    got = call(answer, fcn.Standardize()(image[None])[0])
    if not isinstance(got, torch.Tensor) or got.dtype != torch.uint8 or got.shape != image.shape:
        return f"expected a uint8 tensor (3, 16, 16), got {_kind(got)}"
    if not torch.equal(got, image):
        channel, row, column = (got != image).nonzero()[0].tolist()
        place = (channel, row, column)
        return f"the byte {int(image[place])} of channel {channel} came back as {int(got[place])}"
    for value, want in [(9.0, 255), (-9.0, 0)]:
        byte = int(call(answer, torch.full((3, 1, 1), value))[0, 0, 0])
        if byte != want:
            return f"for the value {value:g}, which no byte can reach: expected {want}, got {byte}"


@check('F.interpolate takes size=(height, width) and mode="bilinear" or "nearest"; it wants (N, C, H, W).')
def rescale(answer):
    """Check exercise 03.4, a function (image, label, factor) -> both scaled."""
    for h, w, factor in [(20, 24, 2.0), (37, 30, 0.75), (41, 22, 1.3), (16, 16, 0.5)]:
        image, label = _pair(h, w)
        if factor < 1:  # smooth, so that every good way of shrinking comes to the same
            image = (3 * torch.arange(h)[:, None] + torch.arange(w)).to(torch.uint8).expand(3, h, w)
        size, case = (round(h * factor), round(w * factor)), f"for {h} x {w} and factor {factor:g}"
        got = call(answer, image.clone(), label.clone(), factor)
        if fault := _pair_fault(got, size, case):
            return fault
        picked = [F.interpolate(label[None, None], size, mode=m)[0, 0] for m in ("nearest", "nearest-exact")]
        if not any(torch.equal(got[1], want) for want in picked):
            return _label_fault(got[1], picked[0], case)
        smooth = F.interpolate(image[None].float(), size, mode="bilinear")[0]
        if (got[0] - smooth).abs().max() > (1 if factor > 1 else 4):
            return f"{case}: the image is not the one that bilinear scaling gives"


def _pair(h, w):
    """Make a random image, and a label with an object and a ring of void around it."""
    generator = torch.Generator().manual_seed(h * w)
    image = torch.randint(0, 256, (3, h, w), generator=generator, dtype=torch.uint8)
    label = torch.zeros(h, w, dtype=torch.uint8)
    label[h // 4 : h, w // 4 : w - w // 4] = voc.VOID
    label[h // 4 + 2 : h - 2, w // 4 + 2 : w - w // 4 - 2] = 15
    return image, label


def _inside(h, w, height, width):
    """Say which pixels of the padded picture, flat, are the picture."""
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[:h, :w] = True
    return inside.flatten()


def _kind(got):
    """Name what a student's function gave."""
    if not isinstance(got, torch.Tensor):
        return type(got).__name__
    return f"a {str(got.dtype).removeprefix('torch.')} tensor {tuple(got.shape)}"


def _pair_fault(got, size, case):
    """Check that the answer is a uint8 image and a uint8 label of a given size."""
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return f"{case}: expected a pair (image, label), got {_kind(got)}"
    for name, part, shape in [("image", got[0], (3, *size)), ("label", got[1], tuple(size))]:
        if not isinstance(part, torch.Tensor) or part.dtype != torch.uint8 or part.shape != shape:
            return f"{case}: expected the {name} as a uint8 tensor {shape}, got {_kind(part)}"
    return None


def _label_fault(got, want, case):
    """Name the first wrong label, and draw both."""
    made_up = sorted(set(got.unique().tolist()) - set(want.unique().tolist()))
    row, column = (got != want).nonzero()[0].tolist()
    message = (
        f"{case}: at {(row, column)} expected label {int(want[row, column])}, got {int(got[row, column])}"
    )
    if made_up:
        message = f"{case}: the label has got values that are not in the picture: {made_up[:5]}"
    return Failure(message, functools.partial(_draw_labels, want, got))


def _draw_labels(want, got):
    """Draw two labels side by side."""
    plotting.show_images([want, got], 1, 2, titles=["expected label", "yours"], scale=2.2)
