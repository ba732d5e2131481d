"""Checks of notebook 09, the bug hunt.

Each exercise hands out code with a planted bug. While an answer still shows the planted symptom, the verdict
is "not yet". Once the symptom is gone, the answer is held to all that the function should do, so that a
repair which only hides the symptom is wrong.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import functional as TF

from .. import fcn, metrics, plotting, prediction, training, upsampling, voc
from ..voc import VOID
from ._compare import tensor_fault
from ._engine import Failure, NotYet, call, check

_REFUSALS = (ValueError, LookupError, AssertionError, RuntimeError)  # errors that refuse an input


class _FaultError(Exception):
    """A fault of the answer that is found deep inside a check; the message names it."""


def _tell(find_fault):
    """Turn a fault that was raised deep inside a check into the sentence that the check returns."""

    @functools.wraps(find_fault)
    def run(answer):
        try:
            return find_fault(answer)
        except _FaultError as fault:
            return str(fault)

    return run


def _ask(answer, *args):
    """Call the student's function. What it is given is broken code and no stub, so None is a fault."""

    def asked():
        if (result := answer(*args)) is None:
            raise _FaultError("the function gave None. Does it end with a return?")
        return result

    return call(answer if answer is ... else asked)


@check("The loop fills 21 places of the table. What stands in all the others, and who else comes there?")
@_tell
def read_colours(answer):
    """Check exercise 09.1, a function RGB mask (3, H, W) -> class indices (H, W)."""
    label = torch.tensor([*range(21), VOID, VOID, 5]).view(4, 6)
    got = _ask(answer, voc.label2image(label))
    _unmended(_same(got, label.where(label != VOID, 0)))
    if fault := tensor_fault(got, label, "for a mask with all classes and void"):
        return fault
    stranger = torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1)
    try:
        index = int(_ask(answer, stranger))
    except _REFUSALS:
        return None
    if index != VOID:
        return f"the colour (10, 20, 30) is none of VOC's, but came out as index {index}"


@check("Where is the place drawn, and how often? Print it, for image and label, several times.")
@_tell
def crop_pair(answer):
    """Check exercise 09.2, a function (image, label, height, width) -> both cropped."""
    image, label = _coordinates(15, 16)
    places = []
    with _seeded():
        for _ in range(30):
            got = _ask(answer, image.clone(), label.clone(), 6, 9)
            if fault := _pair_fault(got, (6, 9), "for a crop of 6 x 9"):
                return fault
            places.append(tuple(divmod(int(part.flatten()[0]), 16) for part in got))
            if fault := _window_fault(got, label, places[-1]):
                return fault
        of_image, of_label = map(set, zip(*places, strict=True))
        if any(a != b for a, b in places):
            _unmended(len(of_image) > 1 and len(of_label) > 1)
            return "image and label are cut out at different places"
        if any(len(set(along)) == 1 for along in zip(*of_image, strict=True)):
            return "30 crops of one picture, and in a direction none has moved: the place should be random"
        nearly = [_ask(answer, image.clone(), label.clone(), 14, 15) for _ in range(30)]
        if fault := _place_fault([int(part.flatten()[0]) for _, part in nearly], "a picture of 15 x 16"):
            return fault
        whole = _ask(answer, image.clone(), label.clone(), 15, 16)
    if not _same(whole[1], label):
        return "a crop as large as the picture should give the whole picture"


@check("Follow a picture that is too narrow. What can stand there that asks nothing? Where may a window lie?")
@_tell
def make_crops(answer):
    """Check exercise 09.3, a function (pairs, height, width) -> list of pairs."""
    sizes = [(14, 16), (10, 15), (15, 11), (6, 9), (12, 12)]  # of them (15, 11) and (6, 9) are too small
    pairs = [_coordinates(*size) for size in sizes]
    for number, (image, _) in enumerate(pairs):
        image[2] = number  # so that no picture can stand in for another
    with _seeded():
        got = _ask(answer, _copies(pairs), 8, 12)
    if not isinstance(got, (list, tuple)):
        return f"expected a list of pairs, got {type(got).__name__}"
    _unmended(len(got) == 3)
    if len(got) != len(pairs):
        return f"{len(pairs)} pictures went in, {len(got)} crops came out"
    for size, source, pair in zip(sizes, pairs, got, strict=True):
        case = f"for a picture of {size[0]} x {size[1]} and crops of 8 x 12"
        if fault := _pair_fault(pair, (8, 12), case) or _content_fault(pair, source, case):
            return fault
    with _seeded():
        for pair, width in [(pairs[0], 15), (pairs[2], 12)]:  # the second is too narrow
            height = len(pair[1]) - 1
            corners = [int(label.min()) for _, label in _ask(answer, _copies([pair] * 30), height, width)]
            size = f"{height + 1} x {pair[1].shape[1]}"
            if fault := _place_fault(corners, f"a picture of {size}", across=width == 15):
                return fault


def _copies(pairs):
    """Copy pairs, so that the student's code can change them."""
    return [(image.clone(), label.clone()) for image, label in pairs]


def _place_fault(corners, picture, across=True):
    """Check that windows one row (and one column) smaller than the picture lie at both places there are."""
    rows, columns = ({number[axis] for number in map(_row_and_column, corners)} for axis in (0, 1))
    names = [("rows", rows), ("columns", columns)][: 1 + across]
    for name, seen in names:
        if len(seen) < 2:
            return (
                f"{len(corners)} crops of {picture}, all but one of its {name}: each began in the same "
                f"of them, {min(seen)}. The place should be random, and each that fits be possible"
            )
    return None


def _row_and_column(number):
    """Read the place from a pixel of ``_coordinates``."""
    return divmod(number, 16)


@check("Mean and deviation are for pixels between 0 and 1. Where does a uint8 pixel lie, in any picture?")
@_tell
def standardise(answer):
    """Check exercise 09.4, a function uint8 image -> standardised image."""
    generator = torch.Generator().manual_seed(0)
    tops = {
        "an ordinary picture": 256,
        "a dim picture, bytes 0 to 180": 181,
        "a nearly black picture, bytes 0 and 1": 2,
    }
    oracle = fcn.Standardize()
    for name, top in tops.items():
        image = torch.randint(top, (3, 6, 8), generator=generator, dtype=torch.uint8)
        image[0, 0] = top - 1
        got = _ask(answer, image.clone())
        _unmended(top == 256 and _close(got, (image - oracle.mean) / oracle.std))
        if fault := tensor_fault(got, oracle(image[None])[0], f"for {name}"):
            return fault


@check("Both 15 and 16 become 8. Who can tell the way back which of the two it was?")
@_tell
def there_and_back(answer):
    """Check exercise 09.5, a function (X, K) -> convolved and transposed-convolved X, of X's size."""
    generator = torch.Generator().manual_seed(0)
    K = torch.randn(4, 2, 3, 3, generator=generator)
    for size in [(16, 16), (15, 15), (16, 15), (13, 18), (1, 2)]:
        X = torch.randn(1, 2, *size, generator=generator)
        got = _ask(answer, X.clone(), K.clone())
        Y = F.conv2d(X, K, stride=2, padding=1)
        planted = F.conv_transpose2d(Y, K, stride=2, padding=1)
        _unmended(size == (16, 16) and _close(got, planted))
        want = torch.nn.grad.conv2d_input(X.shape, K, Y, stride=2, padding=1)  # the transpose, by its meaning
        if fault := tensor_fault(got, want, f"for an X of {size[0]} x {size[1]}"):
            return fault


@check("Print list(layer.named_parameters()). How does each of them start, and how should it?")
@_tell
def x32_layer(answer):
    """Check exercise 09.6, a function classes -> layer that enlarges 32 times."""
    with _seeded():
        layer = _ask(answer, 3)
        Z = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            silence, got = layer(torch.zeros_like(Z)), layer(Z)
            want = upsampling.bilinear_conv_transpose(3, 32)(Z)
    if silence.shape == want.shape and silence.any():
        shift = silence[0, :, 0, 0]
        _unmended(len(set(shift.tolist())) == 3 and _close(got - silence, want))
        return f"an empty map comes out as {[round(v, 4) for v in shift.tolist()]} in its three channels"
    if fault := tensor_fault(got, want, "for a map of random numbers"):
        return fault
    if not any(p.requires_grad for p in layer.parameters()):
        return "nothing in the layer can be trained any more"


@check("Which pixels have the label 255, and what should the loss ask of them? F.cross_entropy can do it.")
@_tell
def pixel_loss(answer):
    """Check exercise 09.7, a function (logits, label) -> loss."""
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
            _unmended(f"Target {VOID} is out of bounds" in str(error))
            raise
        got = _number(loss, name)
        if not torch.equal(given, case):
            return f"{name}: the function has changed the labels that it was given"
        want = float(training.segmentation_loss(logits, case).detach())
        if not math.isclose(got, want, abs_tol=1e-4):
            return f"{name}: expected {want:.4f}, got {got:.4f}{_void_as_class(logits.detach(), case, got)}"
        if fault := _gradient_fault(loss):
            return fault


def _void_as_class(logits, label, loss):
    """Name the class that void was taken for, where that explains the loss."""
    for index in (0, 20):
        other = F.cross_entropy(logits, label.long().where(label != VOID, index))
        if math.isclose(loss, float(other), abs_tol=1e-4):
            return f". That is the loss with void taken for class {index}, {voc.VOC_CLASSES[index]}"
    return ""


@check("Give it one picture, then the same picture twice, step by step. Which step tells them apart?")
@_tell
def batch_loss(answer):
    """Check exercise 09.8, a function (logits, label) -> loss."""
    generator = torch.Generator().manual_seed(0)
    for n, height in [(4, 5), (1, 5), (3, 9), (32, 2)]:
        logits = 3 * torch.randn(n, 5, height, 6, generator=generator)
        label = torch.randint(5, (n, height, 6), generator=generator)
        loss = _ask(answer, logits.requires_grad_(), label.clone())
        got = _number(loss, f"for {n} images")
        want = float(F.cross_entropy(logits, label).detach())
        _unmended(n > 1 and math.isclose(got, n * want, rel_tol=1e-4))
        if not math.isclose(got, want, rel_tol=1e-4):
            return f"for {n} images of {height} x 6: expected {want:.4f}, got {got:.4f}"
        if fault := _gradient_fault(loss):
            return fault


def _gradient_fault(loss):
    """Check that a loss whose number is right can be trained with."""
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        return None
    return "the number is right, but it has no gradients: keep it a tensor, and do not detach it"


@check("Write down num_batches // 5 for 1 to 12 batches, and beside it the list that should come out.")
@_tell
def report_batches(answer):
    """Check exercise 09.9, a function num_batches -> numbers of the batches after which to report."""
    for n in (3, 1, 2, 4, 5, 6, 7, 9, 10, 12, 23, 100, 101, 1113):
        try:
            got = list(_ask(answer, n))
        except ZeroDivisionError:
            _unmended(n < 5)
            raise
        case = f"for {n} batches"
        if not got or got[-1] != n:
            return f"{case}: the last batch must report, got {_ends(got)}"
        if n < 5 and got != list(range(1, n + 1)):
            return f"{case}: expected a report after each of them, got {got}"
        if got != sorted({int(i) for i in got}):
            return f"{case}: expected numbers of batches that rise, got {_ends(got)}"
        gap, limit = max(b - a for a, b in itertools.pairwise([0, *got])), n // 5 + 1
        if gap > limit:
            return f"{case}: one report in {gap} batches, expected one in {limit} or fewer; got {_ends(got)}"
        if len(got) > 9:
            return f"{case}: expected 9 reports or fewer, got {len(got)}"


def _ends(numbers):
    """Write a list, and a long one by its ends."""
    if len(numbers) <= 8:
        return str(numbers)
    return "[" + ", ".join(map(str, [*numbers[:3], "...", *numbers[-2:]])) + "]"


@check("In which of its two modes is the network? And who will ask for the gradients?")
@_tell
def predict_all(answer):
    """Check exercise 09.10, a function (model, images) -> predicted classes."""
    for mode in ("training", "eval"):
        model, images = _watched_network()
        model.train(mode == "training")
        before = copy.deepcopy(model)
        want = torch.stack([prediction.predict(copy.deepcopy(model), image) for image in images])
        with torch.enable_grad():  # puts the setting back, whatever the answer does to it
            got = _ask(answer, model, images.clone())
            still_on = torch.is_grad_enabled()
        case = f"given a network in {mode} mode"
        state, old = model.state_dict(), before.state_dict()
        moved = [name for name in state if not torch.equal(state[name], old[name])]
        _unmended(bool(moved) and model.recorded)
        if moved:
            return f"{case}: predicting has changed the network's {moved[0].split('.')[-1]}"
        if isinstance(got, (list, tuple)) and all(isinstance(part, torch.Tensor) for part in got):
            got = torch.stack(list(got))
        if fault := tensor_fault(got, want.long(), case, atol=9):  # shape and kind; rounding may flip a tie
            return fault
        if (got != want).float().mean() > 0.01:
            return f"{case}: an image gets other classes in the batch than it gets alone"
        if model.recorded:
            return f"{case}: the answer is right, but the forward pass has recorded gradients"
        if not still_on:
            return f"{case}: gradients stay switched off for all the code that follows"
        if any(layer.training != (mode == "training") for layer in model.modules()):
            return f"{case}: the network, or a layer of it, is in the other mode afterwards"


class _Watched(nn.Module):
    """A small network with batch normalisation that notes whether gradients were recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)
        )
        self.recorded = False

    def forward(self, images):
        self.recorded = self.recorded or torch.is_grad_enabled()
        return self.layers(images / 255)


def _watched_network():
    """Give such a network after some training passes, and four images of different brightness."""
    with _seeded():
        model = _Watched()
        with torch.no_grad():
            for _ in range(20):
                model(torch.randint(256, (4, 3, 12, 16), dtype=torch.uint8))
        images = torch.stack([torch.randint(top, (3, 12, 16)) for top in (256, 40, 120, 200)])
    return model, images.to(torch.uint8)


@check("Add up the labels that come out, class by class, and compare with those that go in.")
@_tell
def val_batches(answer):
    """Check exercise 09.11, a function pairs -> batches of images and labels."""
    pairs = [_numbered_picture(i) for i in range(10)]
    with _seeded():
        batches = list(_ask(answer, [(image.clone(), label.clone()) for image, label in pairs]))
    images_seen, cut, apart, out = 0, False, False, torch.zeros(256, dtype=torch.int64)
    for batch in batches:
        if fault := _batch_fault(batch):
            return fault
        images, labels = batch
        images_seen += len(labels)
        cut = cut or labels.shape[1:] == (96, 96)
        out += torch.bincount(labels.flatten(), minlength=256)
        apart = apart or bool(((images[:, 0] != labels) & (labels != VOID)).any())
    _unmended(cut and images_seen == 8)
    if fault := _count_fault(out, [label for _, label in pairs]):
        return fault
    if apart:
        return "image and label differ: pixels of one of them have been moved or changed"


def _batch_fault(batch):
    """Check the form of a batch."""
    if not isinstance(batch, (tuple, list)) or not all(isinstance(part, torch.Tensor) for part in batch):
        return f"expected batches of two tensors, images and labels, got {type(batch).__name__}"
    shapes = [tuple(part.shape) for part in batch]
    lengths = [len(shape) for shape in shapes]
    if lengths != [4, 3] or shapes[0] != (shapes[1][0], 3, *shapes[1][1:]):
        return f"expected batches (N, 3, H, W) and (N, H, W), got {' and '.join(map(str, shapes))}"
    return None


def _count_fault(out, labels):
    """Check that the pixels which came out are those of the pictures, and no others but void."""
    for i, label in enumerate(labels):
        want, got = int((label != VOID).sum()), int(out[1 + i] + out[11 + i])
        if got != want:
            size = f"{label.shape[0]} x {label.shape[1]}"
            return f"picture {i} ({size}) has {want} labelled pixels, {got} of them are in the batches"
    strangers = [index for index in range(VOID) if out[index] and not 1 <= index <= 2 * len(labels)]
    if strangers:
        index = strangers[0]
        return f"no picture here has class {index}, but {int(out[index])} pixels came out with that label"
    return None


def _numbered_picture(i):
    """Make an image equal to its label: 1 + i and 11 + i at random, with a frame of void."""
    generator = torch.Generator().manual_seed(i)
    label = 1 + i + 10 * torch.randint(2, (70 + 12 * i, 150 - 7 * i), generator=generator)
    label = F.pad(label[2:-2, 2:-2], (2, 2, 2, 2), value=VOID).to(torch.uint8)
    return label.expand(3, -1, -1).clone(), label


@check("Cut one and the same set into other batches: may the score change? What can be added up first?")
@_tell
def mean_iou(answer):
    """Check exercise 09.12, a function (batches, num_classes) -> mIoU."""
    guess, label = _guesses()
    want = metrics.scores(metrics.confusion_matrix(guess, label, 6)).miou
    cuts = {
        "batches of 3": [3, 3, 3],
        "one batch": [9],
        "single pictures": [1] * 9,
        "batches of 6, 2 and 1": [6, 2, 1],
    }
    for name, lengths in cuts.items():
        batches = list(zip(guess.split(lengths), label.split(lengths), strict=True))
        got = _number(_ask(answer, batches, 6), f"nine pictures in {name}")
        parts = [metrics.scores(metrics.confusion_matrix(*batch, 6)).miou for batch in batches]
        _unmended(len(batches) > 1 and math.isclose(got, sum(parts), rel_tol=1e-4))
        if not math.isclose(got, want, abs_tol=1e-4):
            return f"nine pictures in {name}: expected {want:.4f}, got {got:.4f}"


def _guesses():
    """Make nine small predictions and labels; few have 2 and 3, 4 is only guessed, 5 is nowhere."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(2, (9, 6, 8), generator=generator)
    label[2, :2], label[6, :, :4], label[7, 0] = 2, 3, 2
    guess = label.where(torch.rand(9, 6, 8, generator=generator) < 0.7, 0)
    guess[4, 3, :5] = 4
    label[::2, -1] = VOID
    return guess, label


@check("How many pixels has the mask, and how many are counted? A network's answer can be enlarged.")
@_tell
def count_pixels(answer):
    """Check exercise 09.13, a function (network, image, label) -> confusion matrix."""
    for height, width in [(100, 150), (170, 90)]:
        image, label = _masts(height, width)
        got = _ask(answer, _Brightness(), image.clone(), label.clone())
        case = f"for a picture of {height} x {width}"
        if not isinstance(got, torch.Tensor) or got.shape != (21, 21):
            return f"{case}: expected a matrix (21, 21), got {getattr(got, 'shape', type(got).__name__)}"
        small = TF.resize(label[None], [32, 32], TF.InterpolationMode.NEAREST)
        _unmended(int(got.sum()) == int((small != VOID).sum()))
        want = torch.bincount(label[label != VOID], minlength=21)
        for index in (0, 20):
            if int(got[index].sum()) != int(want[index]):
                row, name = int(got[index].sum()), voc.VOC_CLASSES[index]
                return f"{case}: the mask has {int(want[index])} pixels of {name}, {row} were counted"
        if fault := _guess_fault(got):
            return Failure(f"{case}: {fault}", functools.partial(_draw_mask, image, label))


def _guess_fault(matrix):
    """Say what is wrong with the predictions in a matrix that has all pixels."""
    said = matrix.sum(0).nonzero().flatten().tolist()
    if strange := [index for index in said if index not in (0, 20)]:
        name = voc.VOC_CLASSES[strange[0]]
        return f"pixels were called {name}, which the network never says. Class numbers must not be mixed"
    if matrix.diag().sum() < 0.9 * matrix.sum():
        return "most pixels should be right. Do the prediction and the mask lie on each other?"
    return None


def _draw_mask(image, label):
    """Draw the picture and its mask."""
    plotting.show_images([image, voc.label2image(label)], 1, 2, ["the picture", "its mask"], scale=2)


def _masts(height, width):
    """Draw a white block and a thin mast on black, class 20 on class 0, with void around the block."""
    label = torch.zeros(height, width, dtype=torch.uint8)
    label[height // 2 - 2 : height - 8, 8 : width // 2 + 2] = VOID
    label[height // 2 : height - 10, 10 : width // 2] = 20
    label[5 : height // 2 - 2, width - 20] = 20
    return (label == 20).to(torch.uint8).mul(255).expand(3, -1, -1).clone(), label


class _Brightness(nn.Module):
    """A network without neighbourhood: class 20 where the picture is bright, class 0 elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))  # so that it has a device, as networks have

    def forward(self, images):
        bright = images.float().mean(1) / 255 - self.threshold  # (N, 3, H, W) -> (N, H, W)
        logits = torch.full((len(images), 21, *images.shape[2:]), -9.0)
        logits[:, 0], logits[:, 20] = -bright, bright
        return logits


def _unmended(symptom):
    """Say "not yet" where the planted symptom is still there."""
    if symptom:
        raise NotYet


@contextmanager
def _seeded():
    """Give the student's code a fixed seed, and put the random state back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _number(got, case):
    """Read an answer as a plain number, whether it is a tensor or not."""
    if isinstance(got, torch.Tensor):
        if got.numel() != 1:
            raise _FaultError(f"{case}: expected one number, got a tensor of shape {tuple(got.shape)}")
        return float(got.detach())
    try:
        return float(got)
    except (TypeError, ValueError):
        raise _FaultError(f"{case}: expected one number, got {type(got).__name__}") from None


def _same(got, want):
    """Tell whether an answer is this tensor, whatever its integer type."""
    return isinstance(got, torch.Tensor) and got.shape == want.shape and bool((got == want).all())


def _close(got, want):
    """Tell whether an answer is this tensor, up to rounding."""
    if not isinstance(got, torch.Tensor) or got.shape != want.shape:
        return False
    return torch.allclose(got.detach().to(want.dtype), want, atol=1e-4)


def _coordinates(height, width):
    """Make an image and a label in which each pixel holds a number of its own, 16 * row + column."""
    label = (16 * torch.arange(height)[:, None] + torch.arange(width)).to(torch.uint8)  # up to 15 x 16
    return label.expand(3, -1, -1).clone(), label


def _pair_fault(got, size, case):
    """Check that an answer is an image and a label of a given size."""
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return f"{case}: expected a pair (image, label), got {type(got).__name__}"
    for name, part, shape in [("image", got[0], (3, *size)), ("label", got[1], tuple(size))]:
        if not isinstance(part, torch.Tensor) or part.shape != shape:
            found = tuple(part.shape) if isinstance(part, torch.Tensor) else type(part).__name__
            return f"{case}: expected the {name} with shape {shape}, got {found}"
    return None


def _window_fault(got, label, places):
    """Check that image and label are windows of the picture, each at its place."""
    for name, part, (top, left) in zip(("image", "label"), got, places, strict=True):
        window = label[top : top + 6, left : left + 9]
        if window.shape != (6, 9) or not (part == window).all():
            return f"the {name} is not a window of the picture: its pixels have changed or are in disorder"
    return None


def _content_fault(pair, source, case):
    """Check that a crop shows as much of its picture as fits, unscaled, and void where there is none."""
    label, inside = source[1], pair[1] != VOID
    want = min(len(inside), len(label)) * min(inside.shape[1], label.shape[1])
    if (got := int(inside.sum())) != want:
        return f"{case}: {want} pixels can be picture and the rest is void, but {got} have a class"
    rows, columns = (inside.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    window = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    height, width = pair[1][window].shape
    top, left = divmod(int(pair[1][window][0, 0]), 16)
    there = (..., slice(top, top + height), slice(left, left + width))
    if not _same(pair[1][window], label[there]):
        return f"{case}: the label's pixels are not a window of the picture; has it been scaled?"
    if not _same(pair[0][window], source[0][there]):
        return f"{case}: the image does not show what the label is about"
    return None
