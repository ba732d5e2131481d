"""Typical wrong answers are refused, with a helpful message."""

import pytest
import torch
import torch.nn.functional as F

from d2lseg import experiments, upsampling
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


def test_answers_that_change_what_they_are_given_are_refused():
    def vote(label, stride):
        label[:] = vote_with()(label, stride)
        return label

    def fuse(coarse, fine):
        fine += enlarge(coarse, 2)
        return enlarge(fine, 16)

    for found in (nb07.vote(vote), nb07.fuse(fuse)):
        assert found.status == "wrong" and "you changed the caller's" in found.message


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


def fading(scores, factor):
    return upsampling.bilinear_conv_transpose(scores.shape[1], factor)(scores)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda a, b: enlarge(a, 32) + enlarge(b, 16), "FCN-16s adds at stride 16"),
        (lambda a, b: fading(fading(a, 2) + b, 16), "fade towards the border"),
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


def test_half_an_answer_is_not_yet():
    for check in (nb07.vote, nb07.head_parameters, nb07.fuse):
        assert check(...).status == "not yet"
        assert check(lambda *arguments: None).status == "not yet"
