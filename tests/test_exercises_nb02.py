"""Typical wrong answers are refused, with a helpful message."""

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F

from d2lseg import upsampling
from d2lseg.exercises import nb02


@pytest.mark.parametrize(
    "wrong, words",
    [
        (
            lambda f: (2 * f, f // 2),
            "for f=3: expected (5, 1), got (6, 1), which turns 5 cells into 16 pixels",
        ),
        (lambda f: (2 * f - 1, (f - 1) // 2), "for f=2: expected (4, 1)"),
        (lambda f: (f, 0), "for f=2: expected (4, 1), got (2, 0), which turns 5 cells into 10 pixels"),
        (
            lambda f: (2 * f + f % 2, (f + f % 2) // 2),
            "15 pixels, as it should, but the kernel's ends are zeros",
        ),
        (lambda f: (f, 0), "10 pixels, as it should, but the kernel is too short"),
        (lambda f: (2 * f, f / 2), "got (6, 1.5), but the padding must be a whole number"),
        (lambda f: (2 * f + f % 2 / 2, f // 2), "but the kernel size must be a whole number"),
        (lambda f: 2 * f, "expected two numbers"),
        (lambda f: [2 * f, f // 2, 0], "expected two numbers"),
    ],
)
def test_wrong_geometries(wrong, words):
    verdict = nb02.geometry(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_a_half_written_geometry_is_not_yet():
    assert nb02.geometry(lambda f: (2 * f, ...)).status == "not yet"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f, j: 0.5 + (j + 0.5) / f,  # not held at 1
        lambda f, j: min(1, 0.5 + j / f),  # the pixel's edge, not its middle
        lambda f, j: min(1, (j + 0.5) / f),
        lambda f, j: 1,
        lambda f, j: 0.5 if j < f / 2 else 1,
    ],
)
def test_wrong_sums_are_drawn(wrong):
    verdict = nb02.weight_sum(wrong)
    assert verdict.status == "wrong" and "expected" in verdict.message
    assert len(plt.gcf().axes[0].lines) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda size, factor: torch.eye(size).repeat(factor, 1),  # 0 1 2 0 1 2 instead of 0 0 1 1 2 2
        lambda size, factor: torch.eye(size).repeat_interleave(factor, 1),  # transposed
        lambda size, factor: torch.eye(size).repeat_interleave(factor, 0) / factor,
        lambda size, factor: upsampling.bilinear_matrix(size, factor),
        lambda size, factor: torch.eye(size * factor)[:, ::factor],  # zeros between the cells
        lambda size, factor: torch.eye(size).tolist(),
    ],
)
def test_wrong_matrices(wrong):
    assert nb02.nearest_matrix(wrong).status == "wrong"


def frame(Z, factor, mode="replicate", cells=1, cut=None):
    """The solution with one part of it changed."""
    framed = F.pad(Z, (cells,) * 4, mode=mode)
    large = upsampling.bilinear_conv_transpose(Z.shape[1], factor)(framed)
    cut = factor if cut is None else cut(factor)
    return large[:, :, cut:-cut, cut:-cut]


def test_enlarge_and_its_wrong_variants():
    assert nb02.enlarge(frame)
    for wrong in (
        lambda Z, f: upsampling.bilinear_conv_transpose(Z.shape[1], f)(Z),  # not repaired
        lambda Z, f: frame(Z, f, mode="constant"),  # a frame of zeros
        lambda Z, f: frame(Z, f, cut=lambda f: max(f // 2, 1)),
        lambda Z, f: frame(Z, f, cut=lambda f: 1),
        lambda Z, f: frame(Z, f, cells=2),
        lambda Z, f: Z.repeat_interleave(f, 2).repeat_interleave(f, 3),
    ):
        assert nb02.enlarge(wrong).status == "wrong"


def test_a_small_wrong_map_is_drawn():
    verdict = nb02.enlarge(lambda Z, f: upsampling.bilinear_conv_transpose(Z.shape[1], f)(Z))
    assert "for Z of shape (1, 1, 2, 3), factor 2: at (0, 0, " in verdict.message
    assert [ax.get_title() for ax in plt.gcf().axes] == ["expected", "yours"]
