import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
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


def noise(height, width, seed=0):
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


class Uneven(nn.Module):
    """A model whose answer at a pixel depends on where in the tile it lies, so that tiles disagree."""

    def __init__(self):
        super().__init__()
        self.pointwise = Pointwise()
        self.seen = []

    def forward(self, images):
        self.seen.append(tuple(images.shape))
        height, width = images.shape[-2:]
        place = torch.arange(height)[:, None] * 0.37 + torch.arange(width) * 0.11
        return self.pointwise(images) * place + place.sin()


@pytest.fixture(scope="module")
def uneven():
    torch.manual_seed(1)
    return Uneven()


def averaged(model, image, tile, overlap, window):
    """Tiles by the book: all logits, all weights, pixel by pixel one division at the end."""
    height, width = image.shape[1:]
    total, weights = torch.zeros(5, height, width, dtype=torch.float64), torch.zeros(height, width)
    for top in prediction.tile_starts(height, tile[0], overlap):
        for left in prediction.tile_starts(width, tile[1], overlap):
            logits = prediction.predict_logits(model, image[:, top : top + tile[0], left : left + tile[1]])
            for y, x in itertools.product(*map(range, logits.shape[1:])):
                weight = 1.0
                if window == "smooth":  # the distance to the nearest side of the tile, before it is cut
                    weight = min(y + 0.5, tile[0] - y - 0.5) * min(x + 0.5, tile[1] - x - 0.5)
                total[:, top + y, left + x] += weight * logits[:, y, x]
                weights[top + y, left + x] += weight
    return (total / weights).float()


TILINGS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda tile: st.tuples(st.just(tile), st.integers(0, min(tile) - 1))
)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 25),
    st.integers(1, 25),
    TILINGS,
    st.sampled_from(prediction.WINDOWS),
    st.integers(1, 5),
)
def test_tiles_are_averaged_as_by_the_book(uneven, height, width, tiling, window, batch_size):
    image, (tile, overlap) = noise(height, width), tiling
    options = {"window": window, "batch_size": batch_size, "stride": 1}
    tiled = prediction.tiled_logits(uneven, image, tile, overlap, **options)
    assert tiled.dtype == torch.float32 and tiled.shape == (5, height, width)
    torch.testing.assert_close(tiled, averaged(uneven, image, tile, overlap, window), atol=1e-5, rtol=1e-5)
    labels = prediction.predict_tiled(uneven, image, tile, overlap, **options)
    assert labels.dtype == torch.uint8 and torch.equal(labels.long(), tiled.max(dim=0).indices)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(8, 40), st.integers(8, 40), st.integers(0, 7))
def test_tiled_logits_of_a_pointwise_model_equal_the_whole_image(pointwise, height, width, th, tw, overlap):
    image = noise(height, width)
    whole = prediction.predict_logits(pointwise, image)
    for window in prediction.WINDOWS:
        tiled = prediction.tiled_logits(pointwise, image, (th, tw), overlap, window, stride=1)
        torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 300), st.integers(1, 80), st.data(), st.sampled_from(prediction.WINDOWS))
def test_weights_are_positive_and_sum_to_one(size, tile, data, window):
    side = prediction.Side(size, tile, data.draw(st.integers(0, tile - 1)), window)
    total = torch.zeros(size)
    for span, weight in zip(side.spans, side.weights, strict=True):
        assert (weight > 0).all()
        total[span] += weight
    torch.testing.assert_close(total, torch.ones(size))
    assert sum(side.finished) == size


def test_the_smooth_window_is_the_blend_of_exercise_06_4(uneven):
    image = noise(6, 20)
    left, right = (prediction.predict_logits(uneven, image[..., part]) for part in (slice(12), slice(8, 20)))
    weight = (torch.arange(4) + 0.5) / 4
    middle = (1 - weight) * left[..., 8:] + weight * right[..., :4]
    want = torch.cat([left[..., :8], middle, right[..., 4:]], dim=-1)
    got = prediction.tiled_logits(uneven, image, (6, 12), 4, "smooth", stride=1)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("batch_size", "row"),
    [(1, [(1, 4)] * 5 + [(1, 2)]), (2, [(2, 4)] * 2 + [(1, 4), (1, 2)]), (9, [(5, 4), (1, 2)])],
)
@pytest.mark.parametrize("wide", [False, True])
def test_tiles_of_one_size_in_a_band_go_together(uneven, batch_size, row, wide):
    """Bands lie across the image: its rows of tiles where it is tall, its columns where it is wide."""
    uneven.seen.clear()
    shape = (22, 27) if wide else (27, 22)
    prediction.predict_tiled(uneven, noise(*shape), (4, 4), 0, batch_size=batch_size, stride=1)
    sizes = [(n, 3, along, across) for along in [4] * 6 + [3] for n, across in row]
    assert uneven.seen == [(n, c, w, h) if wide else (n, c, h, w) for n, c, h, w in sizes]


def test_one_tile_is_the_whole_image():
    torch.manual_seed(0)
    model, image = fcn.FCN32s(4), noise(50, 75)
    whole = prediction.predict_logits(model, image)
    assert torch.equal(prediction.predict(model, image).long(), whole.argmax(dim=0))
    for options in (
        {},
        {"tile": (64, 96), "overlap": 32},
        {"tile": (96, 96), "window": "smooth", "overlap": 0},
    ):
        assert torch.equal(prediction.tiled_logits(model, image, **options), whole)
        assert torch.equal(prediction.predict_tiled(model, image, **options).long(), whole.argmax(dim=0))


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

    merged = prediction.tiled_logits(ByWidth(), noise(4, 7), (4, 6), 2, stride=1)  # tiles 0..5 and 4..6
    assert merged[:, 0].tolist() == [[1, 1, 1, 1, 0.5, 0.5, 0], [0, 0, 0, 0, 1.5, 1.5, 3]]


# ------------------------------------------------------------------ the FCNs, whole and in tiles


def lively(variant, geometry):
    """A model with random weights everywhere, and running statistics that are not those of its start."""
    torch.manual_seed(0)
    model = fcn.FCN(variant, 5, geometry=geometry)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        elif isinstance(module, nn.Conv2d) and module.out_channels == 5:
            nn.init.normal_(module.weight, std=0.05)
    return model


def margins(size, tile, overlap):
    """How far each pixel lies inside all tiles that cover it; the image's own end is no side of a tile."""
    margin = torch.full((size,), size)
    for start in prediction.tile_starts(size, tile, overlap):
        for pixel in range(start, min(start + tile, size)):
            before = pixel - start if start else size
            after = start + tile - 1 - pixel if start + tile < size else size
            margin[pixel] = min(margin[pixel], before, after)
    return margin


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "geometry"), [("32s", "textbook"), ("8s", "textbook"), ("8s", "corrected")]
)
def test_far_from_the_sides_of_tiles_the_logits_are_those_of_the_whole(variant, geometry):
    model, image = lively(variant, geometry), noise(600, 905)  # neither is a multiple of 32
    tile, overlap = (512, 608), 64
    margin = torch.minimum(margins(600, tile[0], overlap)[:, None], margins(905, tile[1], overlap))
    assert (margin >= 250).sum() > 100_000
    whole = prediction.predict_logits(model, image)
    for window in prediction.WINDOWS:
        tiled = prediction.tiled_logits(model, image, tile, overlap, window)
        difference = (whole - tiled).abs().amax(dim=0)
        assert difference[margin >= 250].max() < 1e-4
        # the proof that this can fail: near the sides of a tile its zero padding is seen
        assert difference[margin < 100].max() > 0.05


def test_cells_off_the_grid_see_another_image():
    """Why the last tile is cut and not moved back: 16 pixels further on the logits are others everywhere."""
    model, image = lively("32s", "textbook"), noise(64, 800)
    whole, moved = (prediction.predict_logits(model, image[..., start:]) for start in (0, 16))
    difference = (whole[..., 300:] - moved[..., 284:]).abs().amax(dim=0)
    assert difference.median() > 0.05
    on_grid = prediction.predict_logits(model, image[..., 32:])
    assert (whole[..., 300:] - on_grid[..., 268:]).abs().max() < 1e-4


def test_predict_leaves_no_gradient_and_restores_the_mode(pointwise):
    pointwise.train()  # with dropout on, two predictions would differ
    first, second = (prediction.predict_logits(pointwise, noise(9, 11)) for _ in range(2))
    assert pointwise.training and torch.equal(first, second) and not first.requires_grad
    assert first.dtype == torch.float32 and first.shape == (5, 9, 11)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(4, 4)]
)
def test_other_inputs_are_refused(pointwise, wrong):
    for function in (prediction.predict, prediction.predict_tiled):
        with pytest.raises(ValueError, match="uint8 RGB image"):
            function(pointwise, wrong)


def test_an_image_without_pixels_is_refused(pointwise):
    with pytest.raises(ValueError, match=r"got torch.uint8 \(3, 0, 5\)"):
        prediction.predict_tiled(pointwise, torch.zeros(3, 0, 5, dtype=torch.uint8))


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_bad_overlap_is_refused(overlap):
    with pytest.raises(ValueError, match="overlap"):
        prediction.tile_starts(20, 8, overlap)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"tile": (300, 480)},
            r"tile .*\(300, 480\).* 128; .*multiples of 32",
        ),
        ({"tile": (320, 500)}, "multiples of 32"),
        ({"overlap": 100}, r"tile .*\(768, 768\).* 100; .*multiples of 32"),
        ({"tile": (0, 32), "overlap": 0}, "multiples of 32"),
        ({"tile": (64, 64, 64), "overlap": 0}, r"expected \(height, width\)"),
        ({"tile": (64, 128), "overlap": 64}, "overlap must lie in 0..63"),
        ({"window": "round"}, "window .*flat, smooth.*'round'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"precision": "float64"}, "precision must be one of .* got 'float64'"),
    ],
)
def test_options_that_do_not_fit_are_named(pointwise, options, words):
    for function in (prediction.predict_tiled, prediction.tiled_logits):
        with pytest.raises(ValueError, match=words):
            function(pointwise, noise(9, 9), **options)


class Wrong(nn.Module):
    """A model that gives something else than logits of the images' size."""

    def __init__(self, change):
        super().__init__()
        self.change, self.weight = change, nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.change(torch.zeros(len(images), 5, *images.shape[2:]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda z: {"out": z}, "returned <class 'dict'> for images"),
        (lambda z: z[:, 0], r"returned \(1, 9, 11\) for images"),
        (lambda z: z[..., ::2], r"\(1, 5, 9, 6\) .*\(1, 3, 9, 11\)"),
        (lambda z: torch.cat([z, z]), r"returned \(2, 5, 9, 11\)"),
    ],
)
def test_a_model_that_gives_no_logits_is_refused(change, words):
    for function in (prediction.predict, prediction.predict_tiled):
        model = Wrong(change).train()
        with pytest.raises(ValueError, match=words):
            function(model, noise(9, 11))
        assert model.training and not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


# ------------------------------------------------------------------ precision, bar, memory


@pytest.mark.parametrize("function", [prediction.predict_logits, prediction.tiled_logits])
def test_a_lower_precision_is_used_where_it_is_asked_for(function):
    model, image = lively("32s", "textbook"), noise(64, 96)
    full = function(model, image)
    assert torch.equal(function(model, image, precision="float32"), full)
    half = function(model, image, precision="bf16")
    assert half.dtype == torch.float32 and 0 < (half - full).abs().max() < 0.1 * full.abs().max()


def test_half_precision_logits_are_averaged_in_float32():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, images):
            value = 1.0 if images.shape[-1] == 6 else 1 + 2**-7  # neighbours in bf16
            return torch.full((1, 2, *images.shape[-2:]), value, dtype=torch.bfloat16)

    merged = prediction.tiled_logits(Half(), noise(4, 7), (4, 6), 2, stride=1)
    assert merged[0, 0, 4] == 1 + 2**-8


def test_the_bar_counts_tiles_where_it_is_asked_for(pointwise, capsys):
    prediction.predict_tiled(pointwise, noise(70, 70), (32, 32), 0)
    assert capsys.readouterr() == ("", "")
    prediction.predict_tiled(pointwise, noise(70, 70), (32, 32), 0, live=True)
    assert "9/9" in capsys.readouterr().err


ROOT = Path(__file__).resolve().parent.parent
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")

MEASURE = """
import sys, torch
from d2lseg import fcn, prediction, voc
from d2lseg.engine import devices
from tools import machine

torch.manual_seed(0)
model, precision = fcn.FCN32s().eval(), devices.best_precision("cpu")
before = machine.held_memory()
image = voc.read_image(sys.argv[1])
for call in sys.argv[2:]:
    shape = tuple(eval(call).shape)
    print(*shape, (machine.peak_memory() - before) / 2**20)
"""


def peaks(path, *calls):
    """Run calls in a new process: for each the shape of its result, and how far the memory rose in MiB."""
    # one thread: with more, all of them wait where other processes keep a core busy
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, str(path), *calls]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = [line.split() for line in run.stdout.splitlines()]
    return [(tuple(map(int, shape)), float(peak)) for *shape, peak in rows]


def photo(path, height, width):
    """Write an image that is quickly written and read: a smooth one."""
    small = Image.fromarray(noise(height // 100, width // 100).permute(1, 2, 0).numpy())
    small.resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.slow
@needs_proc
def test_the_logits_of_the_whole_image_never_exist(tmp_path):
    """A tall image: 84 bytes x 4.8 million are 385 MiB of logits, and those of a row of tiles 16 MiB."""
    tall = photo(tmp_path / "tall.jpg", 6000, 800)
    options = "(model, image, (256, 800), 64, precision=precision)"
    streamed, held = peaks(tall, f"prediction.predict_tiled{options}", f"prediction.tiled_logits{options}")
    assert streamed[0] == (6000, 800) and streamed[1] < 250
    assert held[0] == (21, 6000, 800) and held[1] > 385  # the proof that the measurement sees them


@pytest.mark.slow
@needs_proc
def test_a_photo_of_24_megapixels_needs_less_than_a_gibibyte(tmp_path):
    """From the file to the classes, with the tiles that are used by default."""
    large = photo(tmp_path / "large.jpg", 4000, 6000)
    ((shape, peak),) = peaks(large, "prediction.predict_tiled(model, image, precision=precision)")
    assert shape == (4000, 6000) and 100 < peak < 1024


def test_label2image_is_the_one_of_voc():
    assert prediction.label2image is voc.label2image
