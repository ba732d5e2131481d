"""Checks for notebook 12, the bug hunt.

Each exercise provides code with a planted bug. While an answer still shows the planted symptom, the verdict
is "not yet". Once the symptom is gone, the check tests everything that the function should do, so a fix that
merely hides the symptom is wrong.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torchvision.transforms import functional as TF

from .. import fcn, metrics, plotting, prediction, training, upsampling, voc
from ..classes import VOC_CLASSES, VOID
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Failure, Fault, NotYet, call, check

_REFUSALS = (
    ValueError,
    LookupError,
    AssertionError,
    RuntimeError,
)  # errors with which an answer may reject input

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
            raise _FaultError("the function returned None. Does it end with a return statement?")
        return result

    return call(answer if answer is ... else asked)


@check("The loop fills 21 entries of the table. What do all the others contain, and which pixels read them?")
@_report_faults
def read_colours(answer: Any) -> Fault:
    """Check exercise 12.1, a function RGB mask (3, H, W) -> class indices (H, W)."""
    label = torch.tensor([*range(21), VOID, VOID, 5]).view(4, 6)
    got = _ask(answer, voc.label2image(label))
    _not_yet_if(_same(got, label.where(label != VOID, 0)))
    if fault := tensor_fault(got, label, "for a mask with all classes and void"):
        return fault
    stranger = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1)
    try:
        index = int(_ask(answer, stranger))
    except _REFUSALS:
        return None
    if index != VOID:
        return f"the colour (10, 20, 30) is not one of VOC's, but came out as index {index}"
    return None


@check("Where is the position drawn, and how often? Print it, for image and label, several times.")
@_report_faults
def crop_pair(answer: Any) -> Fault:
    """Check exercise 12.2, a function (image, label, height, width) -> both cropped."""
    image, label = _coordinates(15, 16)
    places = []
    with _seeded():
        for _ in range(30):
            got = _ask(answer, image.clone(), label.clone(), 6, 9)
            if fault := _pair_fault(got, (6, 9), "for a crop of 6 x 9"):
                return fault
            places.append(tuple(_row_and_column(int(part.flatten()[0])) for part in got))
            if fault := _window_fault(got, label, places[-1]):
                return fault
        if fault := _apart_fault(places):
            return fault
        nearly = [_ask(answer, image.clone(), label.clone(), 14, 15) for _ in range(30)]
        if fault := _place_fault([int(part.flatten()[0]) for _, part in nearly], "an image of 15 x 16"):
            return fault
        whole = _ask(answer, image.clone(), label.clone(), 15, 16)
    if not _same(whole[1], label):
        return "a crop as large as the image should return the whole image"
    return None


def _apart_fault(places: Sequence[tuple[tuple[int, int], ...]]) -> str | None:
    """Check that image and label are cropped together, and that the crops move in both directions."""
    of_image, of_label = map(set, zip(*places, strict=True))
    if any(a != b for a, b in places):
        _not_yet_if(len(of_image) > 1 and len(of_label) > 1)
        return "image and label are cropped at different positions"
    if any(len(set(along)) == 1 for along in zip(*of_image, strict=True)):
        return "30 crops of one image, and in one direction they never moved: the position should be random"
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


@check("The mean and the deviation are for pixels between 0 and 1. What is the range of uint8 pixels?")
@_report_faults
def standardise(answer: Any) -> Fault:
    """Check exercise 12.4, a function uint8 image -> standardised image."""
    generator = torch.Generator().manual_seed(0)
    tops = {
        "an ordinary image": 256,
        "a dim image, bytes 0 to 180": 181,
        "a nearly black image, bytes 0 and 1": 2,
    }
    oracle = fcn.Standardize()
    for name, top in tops.items():
        image = torch.randint(top, (3, 6, 8), generator=generator, dtype=torch.uint8)
        image[0, 0] = top - 1
        got = _ask(answer, image.clone())
        _not_yet_if(top == 256 and _close(got, (image - oracle.mean) / oracle.std))
        if fault := tensor_fault(got, oracle(image[None])[0], f"for {name}"):
            return fault
    return None


@check("Both 15 and 16 become 8. How can the way back know which of the two it was?")
@_report_faults
def there_and_back(answer: Any) -> Fault:
    """Check exercise 12.5, a function (X, K) -> X convolved and transposed-convolved, with X's size."""
    generator = torch.Generator().manual_seed(0)
    K = torch.randn(4, 2, 3, 3, generator=generator)
    for size in [(16, 16), (15, 15), (16, 15), (13, 18), (1, 2)]:
        X = torch.randn(1, 2, *size, generator=generator)
        got = _ask(answer, X.clone(), K.clone())
        Y = F.conv2d(X, K, stride=2, padding=1)
        planted = F.conv_transpose2d(Y, K, stride=2, padding=1)
        _not_yet_if(size == (16, 16) and _close(got, planted))
        want = conv2d_input(X.shape, K, Y, stride=2, padding=1)  # the transpose, by definition
        if fault := tensor_fault(got, want, f"for an X of {size[0]} x {size[1]}"):
            return fault
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


@check(
    "Which pixels have the label 255, and what should they add to the loss? F.cross_entropy has an option."
)
@_report_faults
def pixel_loss(answer: Any) -> Fault:
    """Check exercise 12.7, a function (logits, label) -> loss."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 21, 4, 6, generator=generator).requires_grad_()
    label = torch.randint(21, (2, 4, 6), generator=generator).to(torch.uint8)
    void = label.clone()
    void[0, :3], void[1, 0] = VOID, VOID
    for name, case in {"without void": label, "with void": void}.items():
        given = case.clone()
        try:
            loss = _ask(answer, logits, given)
        except IndexError as error:
            _not_yet_if(f"Target {VOID} is out of bounds" in str(error))
            raise
        got = _number(loss, name)
        if not torch.equal(given, case):
            return f"{name}: the function has changed the labels that it was given"
        want = float(training.segmentation_loss(logits, case).detach())
        if not math.isclose(got, want, abs_tol=1e-4):
            return f"{name}: expected {want:.4f}, got {got:.4f}{_void_as_class(logits.detach(), case, got)}"
        if fault := _gradient_fault(loss):
            return fault
    return None


def _void_as_class(logits: Tensor, label: Tensor, loss: float) -> str:
    """Name the class that void was mistaken for, if that explains the loss."""
    for index in (0, 20):
        other = F.cross_entropy(logits, label.long().where(label != VOID, index))
        if math.isclose(loss, float(other), abs_tol=1e-4):
            return f". That is the loss with void as class {index}, {VOC_CLASSES[index]}"
    return ""


@check("Pass it one image, then the same image twice, and follow both step by step. Where do they differ?")
@_report_faults
def batch_loss(answer: Any) -> Fault:
    """Check exercise 12.8, a function (logits, label) -> loss."""
    generator = torch.Generator().manual_seed(0)
    for n, height in [(4, 5), (1, 5), (3, 9), (32, 2)]:
        logits = 3 * torch.randn(n, 5, height, 6, generator=generator)
        label = torch.randint(5, (n, height, 6), generator=generator)
        loss = _ask(answer, logits.requires_grad_(), label.clone())
        got = _number(loss, f"for {_images(n)}")
        want = float(F.cross_entropy(logits, label).detach())
        _not_yet_if(n > 1 and math.isclose(got, n * want, rel_tol=1e-4))
        if not math.isclose(got, want, rel_tol=1e-4):
            return f"for {_images(n)} of {height} x 6: expected {want:.4f}, got {got:.4f}"
        if fault := _gradient_fault(loss):
            return fault
    return None


def _images(n: int) -> str:
    """Write a number of images."""
    return "1 image" if n == 1 else f"{n} images"


def _gradient_fault(loss: Any) -> str | None:
    """Check that a loss with the right value can be used for training."""
    if isinstance(loss, Tensor) and loss.requires_grad:
        return None
    return "the number is right, but it has no gradients: keep it a tensor, and do not detach it"


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


@check("Which of its two modes is the network in? And are the gradients needed?")
@_report_faults
def predict_all(answer: Any) -> Fault:
    """Check exercise 12.10, a function (model, images) -> predicted classes."""
    for mode in ("training", "eval"):
        model, images = _watched_network()
        model.train(mode == "training")
        before = copy.deepcopy(model)
        want = torch.stack([prediction.predict(copy.deepcopy(model), image) for image in images])
        with torch.enable_grad():  # restores the setting, whatever the answer does to it
            got = _ask(answer, model, images.clone())
            still_on = torch.is_grad_enabled()
        moved = _moved(before, model)
        _not_yet_if(bool(moved) and model.recorded)
        fault = (
            f"predicting has changed the network's {moved[0].split('.')[-1]}"
            if moved
            else _classes_fault(got, want) or _left_behind(model, mode == "training", still_on)
        )
        if fault:
            return f"given a network in {mode} mode: {fault}"
    return None


def _moved(before: nn.Module, after: nn.Module) -> list[str]:
    """List the names of the parameters and buffers that have changed."""
    old = before.state_dict()
    return [name for name, value in after.state_dict().items() if not torch.equal(value, old[name])]


def _classes_fault(got: Any, want: Tensor) -> str | None:
    """Describe what is wrong with predicted classes, as a tensor or as a list of one tensor per image."""
    if isinstance(got, (list, tuple)) and all(isinstance(part, Tensor) for part in got):
        got = torch.stack(list(got))
    if not isinstance(got, Tensor):
        return f"expected a tensor, got {type(got).__name__}"
    if got.shape != want.shape:
        return f"expected shape {tuple(want.shape)}, got {tuple(got.shape)}"
    if (got != want).float().mean() > 0.01:  # rounding may flip a tie
        return "an image gets other classes in the batch than on its own"
    return None


def _left_behind(model: _Watched, training_mode: bool, gradients: bool) -> str | None:
    """Name the setting that the answer has not restored."""
    if model.recorded:
        return "the answer is right, but the forward pass has recorded gradients"
    if not gradients:
        return "gradients stay switched off for all the code that follows"
    if any(layer.training != training_mode for layer in model.modules()):
        return "the network, or a layer of it, is in the other mode afterwards"
    return None


class _Watched(nn.Module):
    """A small network with batch normalisation that notes whether gradients were recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)
        )
        self.recorded = False

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 4, H, W) for uint8 images (N, 3, H, W)."""
        self.recorded = self.recorded or torch.is_grad_enabled()
        return self.layers(images / 255)


def _watched_network() -> tuple[_Watched, Tensor]:
    """Make such a network, after some training passes, and four images of different brightness."""
    with _seeded():
        model = _Watched()
        with torch.no_grad():
            for _ in range(20):
                model(torch.randint(256, (4, 3, 12, 16), dtype=torch.uint8))
        images = torch.stack([torch.randint(top, (3, 12, 16)) for top in (256, 40, 120, 200)])
    return model, images.to(torch.uint8)


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


@check("If you divide the same set into other batches, should the score change? What can be added up first?")
@_report_faults
def mean_iou(answer: Any) -> Fault:
    """Check exercise 12.12, a function (batches, num_classes) -> mIoU."""
    guess, label = _guesses()
    want = metrics.scores(metrics.confusion_matrix(guess, label, 6)).miou
    cuts = {
        "batches of 3": [3, 3, 3],
        "one batch": [9],
        "batches of 1": [1] * 9,
        "batches of 6, 2 and 1": [6, 2, 1],
    }
    for name, lengths in cuts.items():
        batches = list(zip(guess.split(lengths), label.split(lengths), strict=True))
        got = _number(_ask(answer, batches, 6), f"nine images in {name}")
        parts = [metrics.scores(metrics.confusion_matrix(*batch, 6)).miou for batch in batches]
        _not_yet_if(len(batches) > 1 and math.isclose(got, sum(parts), rel_tol=1e-4))
        if not math.isclose(got, want, abs_tol=1e-4):
            return f"nine images in {name}: expected {want:.4f}, got {got:.4f}"
    return None


def _guesses() -> tuple[Tensor, Tensor]:
    """Make nine small predictions and labels: 2 and 3 are rare, 4 is only predicted, 5 does not occur."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(2, (9, 6, 8), generator=generator)
    label[2, :2], label[6, :, :4], label[7, 0] = 2, 3, 2
    guess = label.where(torch.rand(9, 6, 8, generator=generator) < 0.7, 0)
    guess[4, 3, :5] = 4
    label[::2, -1] = VOID
    return guess, label


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


def _window_fault(got: Pair, label: Tensor, places: Sequence[tuple[int, int]]) -> str | None:
    """Check that both parts of an answer are windows of the original, each at its own position."""
    for name, part, (top, left) in zip(("image", "label"), got, places, strict=True):
        window = label[top : top + 6, left : left + 9]
        if window.shape != (6, 9) or not (part == window).all():
            return f"the {name} is not a window of the original: its pixels have changed or moved"
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
