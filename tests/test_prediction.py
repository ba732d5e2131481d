import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lseg import fcn, prediction, voc


class Pointwise(nn.Module):
    """A model whose answer at a pixel depends on that pixel alone, so that tiles must change nothing."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.dropout(self.layer(images / 255))


def image(height, width, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=g)


@pytest.fixture(scope="module")
def pointwise():
    torch.manual_seed(0)
    return Pointwise()


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 500), st.integers(1, 120), st.data())
def test_tiles_cover_every_pixel_and_none_is_idle(size, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    starts = prediction.tile_starts(size, tile, overlap)
    covered = set()
    for start in starts:
        covered |= set(range(start, min(start + tile, size)))
    assert covered == set(range(size))
    assert all(b - a == tile - overlap for a, b in itertools.pairwise(starts))
    # the last tile is needed: without it the end of the image is bare
    assert len(starts) == 1 or starts[-2] + tile < size


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(8, 40), st.integers(8, 40), st.integers(0, 7))
def test_tiled_logits_of_a_pointwise_model_equal_the_whole_image(pointwise, height, width, th, tw, overlap):
    picture = image(height, width)
    whole = prediction.predict_logits(pointwise, picture)
    tiled = prediction.tiled_logits(pointwise, picture, (th, tw), overlap)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)


def test_one_tile_is_the_whole_image():
    torch.manual_seed(0)
    model, picture = fcn.FCN32s(4), image(50, 75)
    whole = prediction.predict(model, picture)
    assert torch.equal(prediction.predict_tiled(model, picture, (96, 96)), whole)
    assert whole.shape == (50, 75) and whole.dtype == torch.uint8


def test_logits_are_averaged_not_classes():
    """Two tiles disagree in their overlap; the surer one wins."""

    class ByWidth(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, images):
            logits = torch.zeros(1, 2, *images.shape[-2:])
            wide = images.shape[-1] == 6
            logits[:, 0 if wide else 1] = 1.0 if wide else 3.0
            return logits

    merged = prediction.tiled_logits(ByWidth(), image(4, 7), (4, 6), 2)  # tiles 0..5 and 4..6
    assert merged[:, 0].tolist() == [[1, 1, 1, 1, 0.5, 0.5, 0], [0, 0, 0, 0, 1.5, 1.5, 3]]


def test_predict_leaves_no_gradient_and_restores_the_mode(pointwise):
    pointwise.train()  # with dropout on, two predictions would differ
    first, second = (prediction.predict_logits(pointwise, image(9, 11)) for _ in range(2))
    assert pointwise.training and torch.equal(first, second) and not first.requires_grad
    assert first.dtype == torch.float32 and first.shape == (5, 9, 11)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(4, 4)]
)
def test_other_inputs_are_refused(pointwise, wrong):
    for function in (prediction.predict, prediction.predict_tiled):
        with pytest.raises(ValueError, match="uint8 RGB image"):
            function(pointwise, wrong)


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_bad_overlap_is_refused(overlap):
    with pytest.raises(ValueError, match="overlap"):
        prediction.tile_starts(20, 8, overlap)


def test_label2image_is_the_one_of_voc():
    assert prediction.label2image is voc.label2image
