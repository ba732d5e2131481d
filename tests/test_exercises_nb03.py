"""Typical wrong answers are refused, with a helpful message."""

import pytest
import torch
import torch.nn.functional as F

from d2lseg import fcn, voc
from d2lseg.exercises import nb03 as check


def refused(verdict, text):
    return verdict.status == "wrong" and text in verdict.message


# ------------------------------------------------------------------ 03.1


@pytest.mark.parametrize(
    ("answer", "case"),
    [
        (lambda y: (y == 0).float().mean(), "one background, one cat, two void"),
        (lambda y: ((y == 0) | (y == 255)).float().mean(), "one background, one cat, two void"),
        (lambda y: (y != 255).float().mean(), "half background, half dog"),
        (lambda y: (y == 0).sum() / (y != 255).sum(), "nothing but void"),
        (lambda y: int((y == 0).sum()) / int((y != 255).sum()), "ZeroDivisionError"),
        (lambda y: 100 * (y == 0).sum() / (y != 255).sum().clamp(min=1), "got 50"),
        (lambda y: "half", "ValueError"),
    ],
)
def test_wrong_shares_are_refused(answer, case):
    assert refused(check.background_share(answer), case)


def test_a_tensor_is_a_share_too():
    assert check.background_share(lambda y: (y == 0).sum() / (y != 255).sum().clamp(min=1))


# ------------------------------------------------------------------ 03.2


def padded(image, label, fill=voc.VOID, colour=voc.MEAN_COLOR, left=False, always=False):
    h, w = label.shape
    dy, dx = -h % 32 or 32 * always, -w % 32 or 32 * always
    border = (dx, 0, dy, 0) if left else (0, dx, 0, dy)
    channels = [F.pad(c, border, value=v) for c, v in zip(image, colour, strict=True)]
    return torch.stack(channels), F.pad(label, border, value=fill)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fill": 0}, "expected label 255, got 0"),
        ({"colour": (0, 0, 0)}, "expected the padding (124, 116, 104), got (0, 0, 0)"),
        ({"left": True}, "for an image of 33 x 31"),
        (
            {"always": True},
            "(3, 64, 32), got a uint8 tensor (3, 96, 64)",
        ),
    ],
)
def test_wrong_paddings_are_refused(options, text, capsys):
    assert refused(check.pad_to_32(lambda x, y: padded(x, y, **options)), text)


def test_an_image_that_was_changed_is_refused():
    def resized(image, label):
        size = padded(image, label)[1].shape
        return F.interpolate(image[None], size)[0], padded(image, label)[1]

    assert refused(check.pad_to_32(resized), "the image itself has changed")
    assert refused(check.pad_to_32(lambda x, y: padded(x, y)[0]), "expected a pair (image, label)")
    assert refused(check.pad_to_32(lambda x, y: (x.tolist(), y)), "got list")
    assert refused(check.pad_to_32(lambda x, y: (x.float(), y)), "got a float32 tensor (3, 64, 32)")


# ------------------------------------------------------------------ 03.3

MEAN = torch.tensor(fcn.IMAGENET_MEAN).view(3, 1, 1)
STD = torch.tensor(fcn.IMAGENET_STD).view(3, 1, 1)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda z: ((z * STD + MEAN) * 255).clamp(0, 255).to(torch.uint8), "came back as"),
        (
            lambda z: ((z * STD + MEAN) * 255).round().int().to(torch.uint8),
            "came back as|out of the range of bytes",
        ),
        (lambda z: (z * STD + MEAN).clamp(0, 1), "expected a uint8 tensor (3, 16, 16), got a float32 tensor"),
        (lambda z: (z * STD + MEAN).round().clamp(0, 255).to(torch.uint8), "came back as"),
        (lambda z: (((z + MEAN) * STD) * 255).round().clamp(0, 255).to(torch.uint8), "came back as"),
        (lambda z: ((z * STD + MEAN) * 255).round().clamp(0, 255).permute(1, 2, 0).byte(), "(16, 16, 3)"),
    ],
)
def test_wrong_inverses_are_refused(answer, text):
    verdict = check.to_bytes(answer)
    assert any(refused(verdict, part) for part in text.split("|"))


# ------------------------------------------------------------------ 03.4


def scaled(image, label, factor, smooth="bilinear", pick="nearest-exact", size=None, **options):
    size = size or [round(side * factor) for side in label.shape]
    image = F.interpolate(image[None].float(), size, mode=smooth, **options)[0].round().byte()
    return image, F.interpolate(label[None, None].float(), size, mode=pick)[0, 0].round().byte()


@pytest.mark.parametrize("options", [{}, {"antialias": True}])
def test_every_good_way_of_scaling_passes(options):
    assert check.rescale(lambda x, y, f: scaled(x, y, f, **options))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pick": "bilinear"}, "values that the original does not have"),
        ({"pick": "nearest"}, "picks the first pixel of each group, not the one in the middle"),
        ({"smooth": "nearest"}, "the image differs from what bilinear scaling gives"),
        ({"size": (40, 48)}, "for 37 x 30 and factor 0.75: expected the image as a uint8 tensor (3, 28, 22)"),
    ],
)
def test_wrong_scalings_are_refused(options, text, capsys):
    assert refused(check.rescale(lambda x, y, f: scaled(x, y, f, **options)), text)


def test_other_slips_in_scaling_are_refused(capsys):
    assert refused(check.rescale(lambda x, y, f: (scaled(x, y, f)[0], y)), "expected the label as")
    assert refused(check.rescale(lambda x, y, f: (scaled(x, y, f)[0].float(), y)), "got a float32 tensor")
    flipped = check.rescale(lambda x, y, f: (scaled(x, y, f)[0], scaled(x, y, f)[1].flip(0)))
    assert refused(flipped, "expected label")


def test_a_wrong_label_is_drawn(monkeypatch):
    drawn = []
    monkeypatch.setattr(check.plotting, "show_images", lambda images, *rest, **options: drawn.append(images))
    check.rescale(lambda x, y, f: scaled(x, y, f, pick="bilinear"))
    (want, got) = drawn[0]
    assert want.shape == got.shape == (40, 48) and not torch.equal(want, got)
