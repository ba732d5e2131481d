"""Typical wrong answers are refused, with words that help."""

import math

import pytest
import torch
import torch.nn.functional as F

from d2lseg import experiments, metrics
from d2lseg.exercises import nb07


def vote_with(count=lambda block: torch.bincount(block[block != 255], minlength=1).argmax()):
    """The solution of 07.1 with another way to count a block."""

    def vote(label, stride):
        voted = torch.zeros_like(label)
        for top in range(0, label.shape[0], stride):
            for left in range(0, label.shape[1], stride):
                block = label[top : top + stride, left : left + stride]
                voted[top : top + stride, left : left + stride] = count(block)
        return voted

    return vote


def vote_by_shares(label, stride):
    """The same without loops over blocks: average the planes, take the largest, repeat."""
    planes = F.one_hot(label.long().clamp(max=21), 22)[..., :21].permute(2, 0, 1).float()[None]
    height, width = label.shape
    planes = F.pad(planes, (0, -width % stride, 0, -height % stride))
    cells = F.avg_pool2d(planes, stride)[0].argmax(0)
    return cells.repeat_interleave(stride, 0).repeat_interleave(stride, 1)[:height, :width]


def whole_blocks_only(label, stride):
    height, width = (size // stride * stride for size in label.shape)
    return vote_with()(label[:height, :width], stride)


def test_votes_may_be_counted_in_loops_or_as_shares():
    assert nb07.vote(vote_with())
    assert nb07.vote(vote_by_shares)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (vote_with(lambda block: torch.bincount(block.flatten()).argmax()), "got 255"),  # void has a vote
        (vote_with(lambda block: torch.bincount(block[block != 255]).argmax()), "raised"),  # nothing left
        (vote_with(lambda block: torch.bincount(block.flatten() % 255, minlength=1).argmax()), "at ("),
        (vote_with(lambda b: 20 - torch.bincount(20 - b[b != 255], minlength=21).argmax()), "at ("),  # ties
        (vote_with(lambda block: block[0, 0] % 255), "at ("),  # one pixel decides
        (vote_with(lambda block: block[block != 255].median() if (block != 255).any() else 0), "at ("),
        (whole_blocks_only, "expected shape"),
        (lambda label, s: vote_by_shares(label, s)[::s, ::s], "expected shape"),  # never enlarged
        (lambda label, s: experiments.shrink_and_enlarge(label, s), "at ("),
        (lambda label, s: label, "at ("),
    ],
)
def test_wrong_votes(wrong, words):
    verdict = nb07.vote(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def band_by_loops(label, width):
    height, columns = label.shape
    result = torch.zeros(label.shape, dtype=torch.bool)
    for i in range(height):
        for j in range(columns):
            window = label[max(0, i - width) : i + width + 1, max(0, j - width) : j + width + 1]
            result[i, j] = len(window.unique()) > 1
    return result


def band_of(values, width, padded=None):
    """Pool values; ``padded`` puts that value around the picture instead of nothing."""
    values, padding = values.float()[None], width
    if padded is not None:
        values, padding = F.pad(values, (width,) * 4, value=padded), 0
    side = 2 * width + 1
    largest = F.max_pool2d(values, side, 1, padding)
    return (largest != -F.max_pool2d(-values, side, 1, padding))[0]


def cross_shaped(label, width):
    """Distance counted along one axis at a time."""
    values, side = label.float()[None, None], 2 * width + 1
    result = torch.zeros(label.shape, dtype=torch.bool)
    for size, padding in (((side, 1), (width, 0)), ((1, side), (0, width))):
        largest, smallest = F.max_pool2d(values, size, 1, padding), -F.max_pool2d(-values, size, 1, padding)
        result |= (largest != smallest)[0, 0]
    return result


def test_the_band_may_be_naive_or_pooled():
    assert nb07.band(band_by_loops)
    assert nb07.band(band_of)
    assert nb07.band(lambda label, width: band_of(label, width).int())  # ones and zeros will do


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda label, w: band_of(label > 0, w), "two objects that touch"),
        (lambda label, w: band_of((label > 0) & (label < 255), w), "two objects that touch"),
        (lambda label, w: band_of(label, w) & (label > 0), "single pixel"),  # one side of the boundary
        (lambda label, w: band_of(label, w) & (label != 255), "void"),
        (cross_shaped, "single pixel"),
        (lambda label, w: band_of(label, w + 1), "single pixel"),
        (lambda label, w: band_of(label, 1), "width 2"),
        (lambda label, w: band_of(label, w, padded=-1.0), "at (0, 0)"),  # the picture's edge as a boundary
        (lambda label, w: ~band_of(label, w), "single pixel"),
        (lambda label, w: band_of(label, w).float().mean(), "expected shape"),
        (lambda label, w: 3, "expected a tensor"),
    ],
)
def test_wrong_bands(wrong, words):
    verdict = nb07.band(wrong)
    assert verdict.status == "wrong" and words in verdict.message


FACTORS = {"32s": (32,), "16s": (2, 16), "8s": (2, 2, 8)}


def head(variant, channels, classes, learned):
    maps = {"32s": channels[2:], "16s": channels[1:], "8s": channels}[variant]
    kernels = sum((2 * f) ** 2 for f in FACTORS[variant]) if learned else 0
    return sum((c + 1) * classes for c in maps) + classes**2 * kernels


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v, c, n, learned: head(v, c, n, False),
        lambda v, c, n, learned: head(v, [x - 1 for x in c], n, learned),  # no biases
        lambda v, c, n, learned: head(v, c[::-1], n, learned),
        lambda v, c, n, learned: head("8s", c, n, learned),
        lambda v, c, n, learned: head("32s", c, n, learned),
        lambda v, c, n, learned: head(v, c, n, learned) - head("32s", c, n, learned),  # only what is added
        lambda v, c, n, learned: head(v, c, n, learned) + learned * n,  # a bias in the upsampling
        lambda v, c, n, learned: head(v, c, n, False) + learned * n * (2 * FACTORS[v][-1]) ** 2,  # diagonal
        lambda v, c, n, learned: head(v, c, n, False) + learned * n**2 * (2 * FACTORS[v][-1]) ** 2,
    ],
)
def test_wrong_counts(wrong):
    assert nb07.head_parameters(head)
    verdict = nb07.head_parameters(wrong)
    assert verdict.status == "wrong" and "expected" in verdict.message


def enlarge(scores, factor, mode="bilinear", **options):
    return F.interpolate(scores, scale_factor=factor, mode=mode, **options)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda a, b: enlarge(a, 32) + enlarge(b, 16), "FCN-16s adds at stride 16"),
        (lambda a, b: enlarge(enlarge(a, 2, "nearest") + b, 16), "expected"),
        (lambda a, b: enlarge(enlarge(a, 2) + b, 16, "nearest"), "expected"),
        (lambda a, b: enlarge(enlarge(a, 2, align_corners=True) + b, 16, align_corners=True), "expected"),
        (lambda a, b: enlarge((enlarge(a, 2) + b) / 2, 16), "expected"),
        (lambda a, b: enlarge(enlarge(a, 2), 16), "expected"),  # the skip left out
        (lambda a, b: enlarge(b, 16), "expected"),
        (lambda a, b: enlarge(a, 2) + b, "expected shape"),  # never brought to pixels
        (lambda a, b: enlarge(torch.cat([enlarge(a, 2), b], 1), 16), "expected shape"),
        (lambda a, b: enlarge(a + b, 32), "raised RuntimeError"),
    ],
)
def test_wrong_sums(wrong, words):
    assert nb07.fuse(lambda a, b: enlarge(enlarge(a, 2) + b, 16))
    verdict = nb07.fuse(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def looks(layers, centre=lambda k, s, p, i: s * i - p + (k - 1) / 2):
    position = 0
    for layer in reversed(layers):
        position = centre(*layer, position)
    return position


def painted(layers):
    return (math.prod(s for _, s, _ in layers) - 1) / 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda layers: 15.5,
        painted,  # as if every trunk looked at its corners
        looks,
        lambda layers: looks(layers) - painted(layers),  # the other way
        lambda layers: abs(painted(layers) - looks(layers)),
        lambda layers: painted(layers) - looks(layers[::-1]),  # the picture's layer last
        lambda layers: painted(layers) - looks(layers, lambda k, s, p, i: s * i - p + k / 2),
        lambda layers: painted(layers) - looks(layers, lambda k, s, p, i: s * i - p),  # where windows begin
        lambda layers: (painted(layers) * 2 + 1) / 2 - looks(layers),  # half a stride
    ],
)
def test_wrong_shifts(wrong):
    assert nb07.shift(lambda layers: painted(layers) - looks(layers))
    verdict = nb07.shift(wrong)
    assert verdict.status == "wrong" and "cell 0 looks at" in verdict.message


def test_the_naive_band_agrees_with_the_modules():
    label = nb07._sample_label(11, 14, seed=3)
    for width in (1, 2, 5):
        assert torch.equal(band_by_loops(label, width), metrics.boundary_band(label, width))


def test_half_an_answer_is_not_yet():
    for check in (nb07.vote, nb07.band, nb07.head_parameters, nb07.fuse, nb07.shift):
        assert check(...).status == "not yet"
        assert check(lambda *arguments: None).status == "not yet"
