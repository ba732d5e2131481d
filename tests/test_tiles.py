"""Evaluation in tiles: the same scores as prediction in tiles, in little memory whatever the image's size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from d2lseg import fcn, metrics, prediction, training

ROOT = Path(__file__).resolve().parent.parent


def data(*sizes, classes=3):
    g = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (1, 3, *size), dtype=torch.uint8, generator=g) for size in sizes]
    return [(image, torch.randint(classes, (1, *image.shape[2:]), generator=g)) for image in images]


class Local(nn.Module):
    """A model that sees one pixel at a time, so that tiles change nothing; it records what it is given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.score, self.sizes = nn.Conv2d(3, 3, 1), []

    def forward(self, images):
        self.sizes.append(tuple(images.shape))
        return self.score(images / 255)


SIZES = [(64, 96), (64, 200), (200, 64), (150, 150), (31, 97)]


def test_tiles_change_no_score_of_a_model_without_context():
    batches = data(*SIZES)
    whole = training.evaluate(Local(), batches, precision="float32", tile=(1000, 1000))
    model = Local()
    tiled = training.evaluate(model, batches, precision="float32", tile=(64, 96), overlap=32)
    assert torch.equal(whole, tiled) and whole.sum() == sum(h * w for h, w in SIZES)
    assert len(model.sizes) > len(SIZES) and all(h <= 64 and w <= 96 for _, _, h, w in model.sizes)
    assert (1, 3, 64, 96) == model.sizes[0], "an image that fits is one part"


def test_evaluation_scores_what_prediction_in_tiles_predicts():
    torch.manual_seed(0)
    model, batches = fcn.FCN8s(3).eval(), data((96, 160), (160, 96), (64, 64))
    options = {"tile": (64, 64), "overlap": 32, "precision": "float32"}
    matrix = training.evaluate(model, batches, **options)
    guesses = [prediction.predict_tiled(model, image[0], **options) for image, _ in batches]
    pairs = zip(guesses, batches, strict=True)
    assert torch.equal(matrix, sum(metrics.confusion_matrix(g, label[0], 3) for g, (_, label) in pairs))
    with pytest.raises(AssertionError):  # and tiles of this size are not the same as the whole
        assert torch.equal(matrix, training.evaluate(model, batches, precision="float32"))


def test_a_batch_of_large_images_is_scored_image_by_image():
    images, labels = (torch.cat(parts) for parts in zip(*data((100, 80), (100, 80)), strict=True))
    options = {"precision": "float32", "overlap": 32}
    tiled = training.evaluate(Local(), [(images, labels)], tile=(64, 64), **options)
    assert torch.equal(tiled, training.evaluate(Local(), [(images, labels)], tile=(128, 128), **options))


def test_tiles_off_the_grid_are_refused():
    with pytest.raises(ValueError, match=r"tile is \(60, 64\) and overlap 32; expected .* multiples of 32"):
        training.evaluate(Local(), data((100, 100)), tile=(60, 64), overlap=32)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize(  # wide and tall with each; both jobs take their bands from one function
    ("job", "size"),
    [
        ("evaluate", "3000 4000"),
        ("evaluate", "20000 600"),
        ("predict", "4000 3000"),
        ("predict", "600 20000"),
    ],
)
def test_twelve_megapixels_and_21_classes_stay_under_a_gibibyte(job, size):
    """Its peak is measured in a process of its own, over what that held once the model was loaded."""
    command = [sys.executable, "-m", "tools.peak", job, *size.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout)["MiB"] < 1024
