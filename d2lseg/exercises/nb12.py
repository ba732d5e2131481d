"""Checks for notebook 12, the bug hunt.

Each exercise provides code with a planted bug. While an answer still shows the planted symptom, the verdict
is "not yet". Once the symptom is gone, the check tests everything that the function should do, so a fix that
merely hides the symptom is wrong.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import functional as TF

from .. import plotting, upsampling, voc
from ..classes import VOC_CLASSES, VOID
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Failure, Fault, NotYet, call, check

_NEAREST = TF.InterpolationMode.NEAREST

Pair = tuple[Tensor, Tensor]  # image and label


class _FaultError(Exception):
    """A fault of the answer, found deep inside a check; its message becomes the verdict's."""


def _report_faults(find_fault: Callable[[Any], Fault]) -> Callable[[Any], Fault]:
    """Turn a fault that was raised deep inside a check into the sentence that the check returns."""

    @functools.wraps(find_fault)
    def run(answer: Any) -> Fault:
        try:
            return find_fault(answer)
        except _FaultError as fault:
            return str(fault)

    return run


def _ask(answer: Any, *args: Any) -> Any:
    """Call the student's function. It began as broken code, not as a stub, so returning None is a fault."""

    def asked() -> Any:
        if (result := answer(*args)) is None:
            raise _FaultError("your function returned None. Does it end with a return statement?")
        return result

    return call(answer if answer is ... else asked)


@check("Which type has the sum, and what is the largest number that it can hold? Print one of the pairs.")
@_report_faults
def count_pairs(answer: Any) -> Fault:
    """Check exercise 12.1, a function (guess, label) -> counts (21, 21), rows for true classes."""
    generator = torch.Generator().manual_seed(0)
    for name, top in (("all classes", 21), ("classes 0 to 11", 12)):
        guess, label = torch.randint(top, (2, 30, 40), generator=generator, dtype=torch.uint8)
        label[:, :3] = VOID
        want, wrapped = torch.zeros(2, 21 * 21, dtype=torch.int64)
        for t, g in zip(label.flatten().tolist(), guess.flatten().tolist(), strict=True):
            if t != VOID:
                want[21 * t + g] += 1
                wrapped[(21 * t + g) % 256] += 1
        got, case = _ask(answer, guess.clone(), label.clone()), f"for a label with {name}"
        _not_yet_if(top == 21 and _same(got, wrapped.view(21, 21)))
        if fault := tensor_fault(got, want.view(21, 21), case):
            turned = _same(got, want.view(21, 21).T)
            return f"{case}: rows and columns are swapped; rows are the true classes" if turned else fault
    return None


@check("What fills the corners of the label? `TF.rotate` has an argument for that.")
@_report_faults
def turn(answer: Any) -> Fault:
    """Check exercise 12.2, a function (image, label, angle) -> both rotated."""
    generator = torch.Generator().manual_seed(0)
    for angle in (30, -75, 90):
        label = torch.full((40, 56), 15, dtype=torch.uint8)
        label[10:30, 5:35], label[20:, 40:] = 0, 20
        image = torch.randint(256, (3, 40, 56), generator=generator, dtype=torch.uint8)
        got, case = _ask(answer, image.clone(), label.clone(), angle), f"for an angle of {angle} degrees"
        if fault := _pair_fault(got, (40, 56), case):
            return fault
        want, planted = (TF.rotate(label[None], angle, fill=fill)[0] for fill in (VOID, 0))
        _not_yet_if(angle == 30 and _same(got[1], planted))
        if fault := _turned_fault(got[1], want):
            return f"{case}: {fault}"
        ways = [TF.rotate(image, angle, way) for way in (TF.InterpolationMode.BILINEAR, _NEAREST)]
        if not any(_close(got[0], way) for way in ways):
            return f"{case}: the image is not rotated about its middle by this angle"
    return None


def _turned_fault(got: Tensor, want: Tensor) -> str | None:
    """Describe what is wrong with a rotated label."""
    if invented := sorted(set(got.unique().tolist()) - {0, 15, 20, VOID}):
        return f"the label has values that the original does not have: {invented[:5]}"
    for what, there in (("beyond the image", want == VOID), ("inside the image", want != VOID)):
        if different := int((got != want)[there].sum()):
            row, column = ((got != want) & there).nonzero()[0].tolist()
            found = f"at {(row, column)} expected {int(want[row, column])}, got {int(got[row, column])}"
            return f"{different} pixels {what} are wrong; {found}"
    return None


@check(
    "Follow an image that is too narrow. Which label can fill the missing pixels without affecting the loss?"
)
@_report_faults
def make_crops(answer: Any) -> Fault:
    """Check exercise 12.3, a function (pairs, height, width) -> list of pairs."""
    sizes = [(14, 16), (10, 15), (15, 11), (6, 9), (12, 12)]  # of these, (15, 11) and (6, 9) are too small
    pairs = [_coordinates(*size) for size in sizes]
    for number, (image, _) in enumerate(pairs):
        image[2] = number  # so that no image can be taken for another
    with _seeded():
        got = _ask(answer, _copies(pairs), 8, 12)
    if not isinstance(got, (list, tuple)):
        return f"expected a list of pairs, got {type(got).__name__}"
    _not_yet_if(len(got) == 3)
    if len(got) != len(pairs):
        return f"{len(pairs)} images went in, {len(got)} crops came out"
    for size, source, pair in zip(sizes, pairs, got, strict=True):
        case = f"for an image of {size[0]} x {size[1]} and crops of 8 x 12"
        if fault := _pair_fault(pair, (8, 12), case) or _content_fault(pair, source, case):
            return fault
    with _seeded():
        return _random_fault(answer, pairs[0], width=15) or _random_fault(answer, pairs[2], width=12)


def _random_fault(answer: Any, pair: Pair, width: int) -> str | None:
    """Check that crops one row lower than an image, which may be too narrow, have random positions."""
    rows, columns = pair[1].shape
    corners = [int(label.min()) for _, label in _ask(answer, _copies([pair] * 30), rows - 1, width)]
    return _place_fault(corners, f"an image of {rows} x {columns}", across=width < columns)


def _copies(pairs: Iterable[Pair]) -> list[Pair]:
    """Copy pairs, so that the student's code may change them."""
    return [(image.clone(), label.clone()) for image, label in pairs]


def _place_fault(corners: Sequence[int], image: str, across: bool = True) -> str | None:
    """Check that windows one row (and one column) smaller than the image take both possible positions."""
    rows, columns = ({number[axis] for number in map(_row_and_column, corners)} for axis in (0, 1))
    for name, seen in [("row", rows), ("column", columns)][: 1 + across]:
        if len(seen) < 2:
            return (
                f"all {len(corners)} crops of {image}, each one {name} smaller, begin in {name} {min(seen)}. "
                "The position should be random, and every position that fits should be possible"
            )
    return None


def _row_and_column(number: int) -> tuple[int, int]:
    """Read the position from a pixel of `_coordinates`."""
    return divmod(number, 16)


@check("What does F.cross_entropy do with its first argument? Look up what it expects there.")
@_report_faults
def mean_loss(answer: Any) -> Fault:
    """Check exercise 12.4, a function (logits, label) -> cross-entropy of the labelled pixels."""
    generator = torch.Generator().manual_seed(0)
    for size in (3.0, 0.1, 400.0):
        logits = (size * torch.randn(2, 21, 4, 6, generator=generator)).requires_grad_()
        label = torch.randint(21, (2, 4, 6), generator=generator).to(torch.uint8)
        label[0, :2], label[1, :, 5] = VOID, VOID
        loss, case = _ask(answer, logits, label.clone()), f"for logits of about {size:g}"
        got = _number(loss, case)
        want, planted = (
            float(F.cross_entropy(z, label.long(), ignore_index=VOID).detach())
            for z in (logits, logits.softmax(1))
        )
        _not_yet_if(size == 3 and math.isclose(got, planted, rel_tol=1e-4))
        if not math.isclose(got, want, rel_tol=1e-4):
            return f"{case}: expected {want:.4f}, got {got:.4f}"
        if fault := _gradient_fault(loss):
            return fault
    return None


def _gradient_fault(loss: Any) -> str | None:
    """Check that a loss with the right value can be used for training."""
    if isinstance(loss, Tensor) and loss.requires_grad:
        return None
    return "the number is right, but it has no gradients: keep it a tensor, and do not detach it"


@check("Which steps pass the condition? And what should a step between two updates return?")
@_report_faults
def poly_rate(answer: Any) -> Fault:
    """Check exercise 12.5, a function (base, step, steps, every) -> learning rate."""
    for base, steps, every in ((0.1, 100, 10), (1.0, 30, 1), (0.02, 47, 5), (0.5, 3, 9)):
        case = f"base {base:g}, {steps} steps, every {every}"
        got = [_number(_ask(answer, base, step, steps, every), f"for {case}") for step in range(steps)]
        _not_yet_if(steps == 100 and set(got) == {base})
        rate = base
        for step in range(steps):
            if step % every == 0:
                rate = base * (1 - step / steps) ** 0.9
            if not math.isclose(got[step], rate, rel_tol=1e-6):
                return f"for {case}: at step {step} expected {rate:.4f}, got {got[step]:.4f}"
    return None


@check(
    "Print list(layer.named_parameters()). What value does each of them start with, and what should it be?"
)
@_report_faults
def x32_layer(answer: Any) -> Fault:
    """Check exercise 12.6, a function classes -> layer that enlarges 32 times."""
    with _seeded():
        layer = _ask(answer, 3)
        Z = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            silence, got = layer(torch.zeros_like(Z)), layer(Z)
            want = upsampling.bilinear_conv_transpose(3, 32)(Z)
    if silence.shape == want.shape and silence.any():
        shift = silence[0, :, 0, 0]
        _not_yet_if(len(set(shift.tolist())) == 3 and _close(got - silence, want))
        return f"a map of zeros comes out as {[round(v, 4) for v in shift.tolist()]} in its three channels"
    if fault := tensor_fault(got, want, "for a map of random numbers"):
        return fault
    if not any(p.requires_grad for p in layer.parameters()):
        return "the layer has no trainable parameter left"
    return None


@check("Which seeds do image 3 in epoch 0 and image 2 in epoch 1 get? How can three numbers make one seed?")
@_report_faults
def corner(answer: Any) -> Fault:
    """Check exercise 12.7, a function (seed, epoch, index, rows, columns) -> (row, column)."""
    keys = list(itertools.product((0, 1), range(8), range(110)))
    states = _common_states()
    got = {key: _corner(answer, key) for key in keys}
    if changed := [whose for whose, state in _common_states().items() if state != states[whose]]:
        return (
            f"your function draws from the common random numbers of {changed[0]}, or seeds them, and so "
            "changes what others draw; make a generator of its own"
        )
    again = {key: _corner(answer, key) for key in keys[::50]}
    if different := [key for key in again if again[key] != got[key]]:
        seed, epoch, index = different[0]
        return f"seed {seed}, epoch {epoch}, image {index} gives another place when it is asked a second time"
    first: dict[tuple[int, int], tuple[int, int, int]] = {}
    twins = [(first.setdefault(place, key), key) for key, place in got.items()]
    twins = [(one, other) for one, other in twins if one != other]
    _not_yet_if(bool(twins) and all(sum(one) == sum(other) for one, other in twins))
    if len(twins) > 0.01 * len(keys):  # a few places come up twice by chance
        one, other = ("seed {}, epoch {}, image {}".format(*key) for key in twins[0])
        return f"{one} and {other} give the same place"
    return _spread_fault([_corner(answer, (7, 0, index), 2, 3) for index in range(300)])


def _common_states() -> dict[str, Any]:
    """Return the states of the generators that all code shares, in a form that can be compared."""
    numpys: Any = np.random.get_state()
    return {
        "PyTorch": bytes(torch.random.get_rng_state().tolist()),
        "NumPy": (numpys[1].tolist(), *numpys[2:]),
        "Python": random.getstate(),
    }


def _corner(answer: Any, key: tuple[int, int, int], rows: int = 99_991, columns: int = 99_989) -> Any:
    """Ask for one place, and check its form."""
    got = _ask(answer, *key, rows, columns)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise _FaultError(f"expected two numbers, a row and a column, got {got!r}")
    row, column = (int(part) for part in got)
    if not (0 <= row < rows and 0 <= column < columns):
        raise _FaultError(f"with {rows} rows and {columns} columns, {(row, column)} is out of range")
    return row, column


def _spread_fault(places: Sequence[tuple[int, int]]) -> str | None:
    """Check that 300 places among 2 rows and 3 columns are about equally frequent."""
    counts = {place: places.count(place) for place in itertools.product(range(2), range(3))}
    place = min(counts, key=lambda place: counts[place])
    if counts[place] < 25:  # 50 are expected; so few are a matter of one in a hundred thousand
        return f"of 300 places among 2 rows and 3 columns, {place} came up {counts[place]} times"
    return None


@check(
    "When was the optimizer made, and which tensors did it see then? Print the model's parameters after it."
)
@_report_faults
def with_new_classes(answer: Any) -> Fault:
    """Check exercise 12.8, a function (model, classes) -> optimizer; it replaces model.score."""
    for classes in (4, 2):
        with _seeded():
            model = _Scored()
            old, kept = model.score, model.features.weight.detach().clone()
            optimizer = _ask(answer, model, classes)
        if not isinstance(optimizer, torch.optim.SGD):
            return f"expected a torch.optim.SGD, got {type(optimizer).__name__}"
        held = [p for group in optimizer.param_groups for p in group["params"]]
        _not_yet_if(model.score is not old and any(p is old.weight for p in held) and len(held) == 4)
        if fault := _head_fault(model, old, classes) or _held_fault(model, held):
            return f"for {classes} classes: {fault}"
        if not torch.equal(model.features.weight, kept):
            return "the rest of the network has changed; replace the score layer only"
        if {group["lr"] for group in optimizer.param_groups} != {0.1}:
            return f"expected the rate 0.1, got {[group['lr'] for group in optimizer.param_groups]}"
    return None


class _Scored(nn.Module):
    """A small network with a score layer for 21 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.score = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 21, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.score(self.features(images))


def _head_fault(model: _Scored, old: nn.Conv2d, classes: int) -> str | None:
    """Describe what is wrong with the new score layer."""
    new = model.score
    if new is old or not isinstance(new, nn.Conv2d):
        return "model.score should be a new nn.Conv2d"
    if (new.in_channels, new.out_channels, new.kernel_size) != (8, classes, (1, 1)):
        return f"expected a 1x1 convolution from 8 channels to {classes}, got {new}"
    return None


def _held_fault(model: nn.Module, held: Sequence[Tensor]) -> str | None:
    """Describe how the tensors of an optimizer differ from a model's parameters."""
    names = {id(p): name for name, p in model.named_parameters()}
    if missing := [name for key, name in names.items() if key not in map(id, held)]:
        return f"the optimizer does not hold the model's {missing[0]}"
    if strangers := [tuple(p.shape) for p in held if id(p) not in names]:
        return f"the optimizer still holds a tensor {strangers[0]} that is no longer part of the model"
    return None


@check("Write down num_batches // 5 for 1 to 12 batches, and next to each the list that you expect.")
@_report_faults
def report_batches(answer: Any) -> Fault:
    """Check exercise 12.9, a function num_batches -> numbers of the batches after which to report."""
    for n in (3, 1, 2, 4, 5, 6, 7, 9, 10, 12, 23, 100, 101, 1113):
        try:
            got = list(_ask(answer, n))
        except ZeroDivisionError:
            _not_yet_if(n < 5)
            raise
        if fault := _reports_fault(n, got):
            return f"for {'1 batch' if n == 1 else f'{n} batches'}: {fault}"
    return None


def _reports_fault(n: int, got: list[Any]) -> str | None:
    """Describe what is wrong with the reports of n batches."""
    if not got or got[-1] != n:
        return f"there must be a report after the last batch, got {_ends(got)}"
    if n < 5 and got != list(range(1, n + 1)):
        return f"expected a report after every batch, got {got}"
    if got != sorted({int(i) for i in got}):
        return f"expected increasing batch numbers, got {_ends(got)}"
    gap, limit = max(b - a for a, b in itertools.pairwise([0, *got])), n // 5 + 1
    if gap > limit:
        return f"up to {gap} batches per report, expected at most {limit}; got {_ends(got)}"
    if len(got) > 9:
        return f"expected 9 reports or fewer, got {len(got)}"
    return None


def _ends(numbers: Sequence[Any]) -> str:
    """Write a list, a long one by its ends only."""
    if len(numbers) <= 8:
        return str(numbers)
    return "[" + ", ".join(map(str, [*numbers[:3], "...", *numbers[-2:]])) + "]"


@check(
    "In which order does PIL take the sides? And how does it compute a pixel between class 0 and class 18?"
)
@_report_faults
def enlarge_mask(answer: Any) -> Fault:
    """Check exercise 12.10, a function (mask, height, width) -> enlarged mask."""
    generator = torch.Generator().manual_seed(0)
    for (h, w), (height, width) in [
        ((4, 6), (40, 90)),
        ((5, 5), (30, 30)),
        ((7, 3), (50, 31)),
        ((2, 9), (2, 20)),
    ]:
        mask = torch.randint(21, (h, w), generator=generator, dtype=torch.uint8)
        got, case = _ask(answer, mask.clone(), height, width), f"for {h} x {w} to {height} x {width}"
        if not isinstance(got, Tensor):
            return f"{case}: expected a tensor, got {type(got).__name__}"
        _not_yet_if(height != width and got.shape == (width, height))
        if got.shape != (height, width):
            return f"{case}: expected shape {(height, width)}, got {tuple(got.shape)}"
        rows, columns = (
            torch.tensor([int((i + 0.5) * small / large) for i in range(large)])
            for small, large in ((h, height), (w, width))
        )
        want = mask[rows][:, columns]
        if invented := sorted(set(got.unique().tolist()) - set(mask.unique().tolist())):
            names = ", ".join(VOC_CLASSES[i] if i < 21 else str(i) for i in map(int, invented[:3]))
            return f"{case}: the new mask has classes that the original does not have: {names}"
        if not _same(got, want):
            row, column = (got != want).nonzero()[0].tolist()
            found = f"expected {int(want[row, column])}, got {int(got[row, column])}"
            return f"{case}: at {(row, column)} {found}"
    return None


@check("Add up the labels that come out, class by class, and compare them with those that went in.")
@_report_faults
def val_batches(answer: Any) -> Fault:
    """Check exercise 12.11, a function pairs -> batches of images and labels."""
    pairs = [_numbered_image(i) for i in range(10)]
    with _seeded():
        batches = list(_ask(answer, _copies(pairs)))
    images_seen, cut, apart, out = 0, False, False, torch.zeros(256, dtype=torch.int64)
    for batch in batches:
        if fault := _batch_fault(batch):
            return fault
        images, labels = batch
        images_seen += len(labels)
        cut = cut or labels.shape[1:] == (96, 96)
        out += torch.bincount(labels.flatten(), minlength=256)
        apart = apart or bool(((images[:, 0] != labels) & (labels != VOID)).any())
    _not_yet_if(cut and images_seen == 8)
    if fault := _count_fault(out, [label for _, label in pairs]):
        return fault
    if apart:
        return "image and label no longer match: pixels of one of them have been moved or changed"
    return None


def _batch_fault(batch: Any) -> str | None:
    """Check the form of a batch."""
    if not isinstance(batch, (tuple, list)) or not all(isinstance(part, Tensor) for part in batch):
        return f"expected batches of two tensors, images and labels, got {type(batch).__name__}"
    shapes = [tuple(part.shape) for part in batch]
    lengths = [len(shape) for shape in shapes]
    if lengths != [4, 3] or shapes[0] != (shapes[1][0], 3, *shapes[1][1:]):
        return f"expected batches (N, 3, H, W) and (N, H, W), got {' and '.join(map(str, shapes))}"
    return None


def _count_fault(out: Tensor, labels: Sequence[Tensor]) -> str | None:
    """Check that exactly the pixels of the images came out, and otherwise only void."""
    for i, label in enumerate(labels):
        want, got = int((label != VOID).sum()), int(out[1 + i] + out[11 + i])
        if got != want:
            size = f"{label.shape[0]} x {label.shape[1]}"
            return f"image {i} ({size}) has {want} labelled pixels, and {got} of them are in the batches"
    strangers = [index for index in range(VOID) if out[index] and not 1 <= index <= 2 * len(labels)]
    if strangers:
        index = strangers[0]
        return f"no image here has class {index}, but {int(out[index])} pixels came out with that label"
    return None


def _numbered_image(i: int) -> Pair:
    """Make an image equal to its label: 1 + i and 11 + i at random, in a frame of void."""
    generator = torch.Generator().manual_seed(i)
    label = 1 + i + 10 * torch.randint(2, (70 + 12 * i, 150 - 7 * i), generator=generator)
    label = F.pad(label[2:-2, 2:-2], (2, 2, 2, 2), value=VOID).to(torch.uint8)
    return label.expand(3, -1, -1).clone(), label


@check("What does each loss hold besides its number, and how long? tensor.item() gives the number alone.")
@_report_faults
def mean_of_losses(answer: Any) -> Fault:
    """Check exercise 12.12, a function (model, batches, loss) -> mean loss, a number."""
    for n in (8, 1):
        with _seeded():
            model = _Remembering()
            batches = [(torch.rand(2, 3, 5, 5), torch.randint(4, (2, 5, 5))) for _ in range(n)]
        losses = [float(F.cross_entropy(model.score(x), y).detach()) for x, y in batches]
        got = _ask(answer, model, batches, F.cross_entropy)
        _not_yet_if(n > 1 and isinstance(got, Tensor) and got.requires_grad)
        case = f"for {n} {'batch' if n == 1 else 'batches'}"
        if not math.isclose(_number(got, case), sum(losses) / n, abs_tol=1e-5):
            return f"{case}: expected {sum(losses) / n:.4f}, got {_number(got, case):.4f}"
        if model.most > 2:
            return (
                f"{case}: the result has no graph, but in the loop those of {model.most} batches were alive"
            )
        if isinstance(got, Tensor) and got.requires_grad:
            return f"{case}: the result still holds its graph"
        if not model.training:
            return "the model is in eval mode afterwards; leave its mode as it is"
        if model.calls != n:
            return f"{case}: the model was called {model.calls} times"
    return None


class _Token:
    """A thing whose life can be watched."""


class _Holding(torch.autograd.Function):
    """The identity; its place in the graph holds a token."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, token: _Token) -> Tensor:
        """Return x, and keep the token as long as the graph lives."""
        ctx.token = token
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Hand the gradient on."""
        return gradient, None


class _Remembering(nn.Module):
    """A network that counts how many of its graphs are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.calls, self.most = nn.Conv2d(3, 4, 1), 0, 0
        self.tokens: list[weakref.ref[_Token]] = []

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 4, H, W)."""
        token = _Token()
        logits = _Holding.apply(self.score(images), token)
        self.tokens.append(weakref.ref(token))
        del token
        self.calls += 1
        self.most = max(self.most, sum(token() is not None for token in self.tokens))
        return logits


@check("How many pixels does the mask have, and how many are counted? The network's output can be enlarged.")
@_report_faults
def count_pixels(answer: Any) -> Fault:
    """Check exercise 12.13, a function (network, image, label) -> confusion matrix."""
    for height, width in [(100, 150), (170, 90)]:
        image, label = _masts(height, width)
        got = _ask(answer, _Brightness(), image.clone(), label.clone())
        case = f"for an image of {height} x {width}"
        if not isinstance(got, Tensor):
            return f"{case}: expected a matrix (21, 21), got {type(got).__name__}"
        if got.shape != (21, 21):
            return f"{case}: expected a matrix (21, 21), got shape {tuple(got.shape)}"
        small = TF.resize(label[None], [32, 32], TF.InterpolationMode.NEAREST)
        _not_yet_if(int(got.sum()) == int((small != VOID).sum()))
        want = torch.bincount(label[label != VOID], minlength=21)
        for index in (0, 20):
            if int(got[index].sum()) != int(want[index]):
                row, name = int(got[index].sum()), VOC_CLASSES[index]
                return f"{case}: the mask has {int(want[index])} pixels of {name}, but {row} were counted"
        if fault := _guess_fault(got):
            return Failure(f"{case}: {fault}", functools.partial(_draw_mask, image, label))
    return None


def _guess_fault(matrix: Tensor) -> str | None:
    """Describe what is wrong with the predictions in a matrix that counts all pixels."""
    said = matrix.sum(0).nonzero().flatten().tolist()
    if strange := [index for index in said if index not in (0, 20)]:
        name = VOC_CLASSES[strange[0]]
        return f"some pixels became {name}, which the network never predicts. Do not average class numbers"
    if matrix.diag().sum() < 0.9 * matrix.sum():
        return "most pixels should be right. Are the prediction and the mask aligned?"
    return None


def _draw_mask(image: Tensor, label: Tensor) -> None:
    """Draw the image and its mask."""
    plotting.show_images([image, voc.label2image(label)], 1, 2, ["the image", "its mask"], scale=2)


def _masts(height: int, width: int) -> Pair:
    """Draw a white block and a thin mast on black, class 20 on class 0, with void around the block."""
    label = torch.zeros(height, width, dtype=torch.uint8)
    label[height // 2 - 2 : height - 8, 8 : width // 2 + 2] = VOID
    label[height // 2 : height - 10, 10 : width // 2] = 20
    label[5 : height // 2 - 2, width - 20] = 20
    return (label == 20).to(torch.uint8).mul(255).expand(3, -1, -1).clone(), label


class _Brightness(nn.Module):
    """A network that looks at single pixels: class 20 where the image is bright, class 0 elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))  # gives the network a device

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 21, H, W) for uint8 images (N, 3, H, W)."""
        bright = images.float().mean(1) / 255 - self.threshold  # (N, 3, H, W) -> (N, H, W)
        logits = torch.full((len(images), 21, *images.shape[2:]), -9.0)
        logits[:, 0], logits[:, 20] = -bright, bright
        return logits


def _not_yet_if(symptom: bool) -> None:
    """End the check with "not yet" if the planted symptom is still there."""
    if symptom:
        raise NotYet


@contextmanager
def _seeded() -> Iterator[None]:
    """Run the student's code with a fixed seed, and restore the random state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _number(got: Any, case: str) -> float:
    """Return an answer as a plain number, whether it is a tensor or not."""
    if isinstance(got, Tensor):
        if got.numel() != 1:
            raise _FaultError(f"{case}: expected one number, got a tensor of shape {tuple(got.shape)}")
        return float(got.detach())
    try:
        return float(got)
    except (TypeError, ValueError):
        raise _FaultError(f"{case}: expected one number, got {type(got).__name__}") from None


def _same(got: Any, want: Tensor) -> bool:
    """Compare an answer with a tensor, whatever its integer type."""
    return isinstance(got, Tensor) and got.shape == want.shape and bool((got == want).all())


def _close(got: Any, want: Tensor) -> bool:
    """Compare an answer with a tensor, up to rounding."""
    if not isinstance(got, Tensor) or got.shape != want.shape:
        return False
    return torch.allclose(got.detach().to(want.dtype), want, atol=1e-4)


def _coordinates(height: int, width: int) -> Pair:
    """Make an image and a label in which each pixel holds its own number, 16 * row + column."""
    label = (16 * torch.arange(height)[:, None] + torch.arange(width)).to(torch.uint8)  # up to 15 x 16
    return label.expand(3, -1, -1).clone(), label


def _pair_fault(got: Any, size: tuple[int, int], case: str) -> str | None:
    """Check that an answer is an image and a label of a given size."""
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return f"{case}: expected a pair (image, label), got {type(got).__name__}"
    for name, part, shape in [("image", got[0], (3, *size)), ("label", got[1], tuple(size))]:
        if not isinstance(part, Tensor) or part.shape != shape:
            found = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            return f"{case}: expected the {name} with shape {shape}, got {found}"
    return None


def _content_fault(pair: Pair, source: Pair, case: str) -> str | None:
    """Check that a crop shows as much of its image as fits, unscaled, and void elsewhere."""
    label, inside = source[1], pair[1] != VOID
    want = min(len(inside), len(label)) * min(inside.shape[1], label.shape[1])
    if (got := int(inside.sum())) != want:
        return (
            f"{case}: the image can fill {want} pixels and the others should be void, but {got} have a class"
        )
    rows, columns = (inside.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    window = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    height, width = pair[1][window].shape
    top, left = _row_and_column(int(pair[1][window][0, 0]))
    there = (..., slice(top, top + height), slice(left, left + width))
    if not _same(pair[1][window], label[there]):
        return f"{case}: the label's pixels are not a window of the original; has it been scaled?"
    if not _same(pair[0][window], source[0][there]):
        return f"{case}: the image does not show what its label describes"
    return None
