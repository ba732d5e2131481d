"""Real VOC photographs go the same way as the embedded data.

The photographs are not part of the course. ``D2LSEG_REAL_VOC`` names the folder that holds them (or their
``VOCdevkit``); without them these tests are skipped and say so.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from d2lseg import fcn, metrics, prediction, training, voc

SIZES = {"2011_000003": (338, 500), "2011_000006": (375, 500), "2011_000025": (375, 500)}


@pytest.fixture(scope="module")
def folder(real_voc):
    inner = real_voc / "VOCdevkit" / "VOC2012"
    return inner if inner.is_dir() else real_voc


def class_counts(path):
    """Decode a mask without any of our code: paint it with its own palette, count the colours."""
    colours = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    names = {tuple(colour): index for index, colour in enumerate(voc.VOC_COLORMAP)}
    names[(224, 224, 192)] = 255
    return Counter(names[tuple(colour)] for colour in colours.tolist())


def test_the_lists_name_what_is_there(folder):
    assert voc.VOCSegDataset(folder, "train").ids == ["2011_000003", "2011_000006"]
    assert voc.VOCSegDataset(folder, "val").ids == ["2011_000025"]
    assert len(voc.VOCSegDataset(folder, "trainval")) == 3


@pytest.mark.slow
def test_images_and_masks_equal_an_independent_decode(folder):
    dataset = voc.VOCSegDataset(folder, "trainval")
    for name, (image, label) in zip(dataset.ids, dataset, strict=True):
        image_path, mask_path = dataset.paths(name)
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(Image.open(image_path).convert("RGB")))
        assert np.array_equal(label, np.asarray(Image.open(mask_path)))
        assert Counter(label.flatten().tolist()) == class_counts(mask_path)
        assert label.shape == image.shape[1:] == SIZES[name]


def test_masks_survive_the_way_through_their_colours(folder):
    for label in voc.read_voc_images(folder, "trainval")[1]:
        assert torch.equal(voc.voc_label_indices(voc.label2image(label)), label)


def test_crops_are_cut_from_image_and_mask_alike(folder):
    """The label rides along as a colour; no label is 104, so padding is told from the image by its blue."""
    for image, label in zip(*voc.read_voc_images(folder, "train"), strict=True):
        marked = torch.stack((image[0], image[1], label))
        for height, width in ((320, 480), (352, 480), (400, 512)):
            crop, crop_label = voc.voc_rand_crop(marked, label, height, width)
            inside = crop[2] != voc.MEAN_COLOR[2]
            assert inside.sum() == min(height, label.shape[0]) * min(width, label.shape[1])
            assert torch.equal(crop[2][inside], crop_label[inside])
            assert (crop_label[~inside] == voc.VOID).all()


def test_batches_for_training_and_whole_images_for_validation(folder):
    train_iter, val_iter = voc.load_data_voc(folder, 4, (320, 480))
    images, labels = next(iter(train_iter))
    assert images.shape == (2, 3, 320, 480) and labels.shape == (2, 320, 480)
    assert images.dtype == labels.dtype == torch.uint8
    assert [(tuple(x.shape), tuple(y.shape)) for x, y in val_iter] == [((1, 3, 375, 500), (1, 375, 500))]


@pytest.mark.slow
def test_whole_images_are_evaluated_at_their_own_size(folder):
    """Each labelled pixel is counted once, whatever the size; prediction and evaluation agree."""
    torch.manual_seed(0)
    model = fcn.FCN32s()
    dataset = voc.VOCSegDataset(folder, "trainval")
    matrix = training.evaluate(model, DataLoader(dataset, 1), precision="float32")
    by_hand = torch.zeros_like(matrix)
    for image, label in dataset:
        by_hand += metrics.confusion_matrix(prediction.predict(model, image), label, 21)
    rows = sum(torch.bincount(y.flatten().long(), minlength=256)[:21] for _, y in dataset)
    assert torch.equal(matrix.sum(1), rows) and torch.equal(matrix, by_hand)


@pytest.fixture(scope="module")
def overfitted(folder):
    """FCN-32s from scratch, 50 steps on the two training photographs."""
    training.set_seed(0)
    model = fcn.FCN32s()
    dataset = voc.VOCSegDataset(folder, "train", crop_size=(375, 500), cache=True)
    history = training.train(model, DataLoader(dataset, batch_size=2), epochs=50, live=False)
    return model, history


@pytest.mark.slow
def test_a_model_from_scratch_learns_the_two_training_photographs(folder, overfitted):
    model, history = overfitted
    matrix = training.evaluate(model, DataLoader(voc.VOCSegDataset(folder, "train"), 1))
    ours, baseline = metrics.scores(matrix), metrics.background_baseline(matrix)
    assert history.rows[-1]["loss"] < history.rows[0]["loss"] / 10
    assert ours.pixel_acc >= 0.95 and ours.pixel_acc > baseline.pixel_acc + 0.2, str(ours)


@pytest.mark.slow
def test_it_knows_the_photographs_and_not_the_task(folder, overfitted):
    """The proof that 0.95 can be missed: the third photograph, never trained on, is far from it."""
    matrix = training.evaluate(overfitted[0], DataLoader(voc.VOCSegDataset(folder, "val"), 1))
    assert metrics.scores(matrix).pixel_acc < 0.9
