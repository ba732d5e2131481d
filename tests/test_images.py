"""Mask files as they are stored, and what is checked about them; `test_read_image` is about photographs."""

import numpy as np
import pytest
import torch
from PIL import Image
from voc_layout import palette, write_mask

from d2lseg import voc
from d2lseg.engine import images


def test_each_kind_of_mask_is_read_as_it_is_stored(tmp_path):
    label = np.array([[0, 15], [255, 3]], np.uint8)
    write_mask(tmp_path / "palette.png", label)
    mask = images.read_mask(tmp_path / "palette.png")
    assert np.array_equal(mask.pixels, label) and list(mask.palette) == palette()
    for name, pixels in {"grey": label, "rgb": np.stack([label] * 3, axis=2)}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        mask = images.read_mask(tmp_path / f"{name}.png")
        assert np.array_equal(mask.pixels, pixels) and mask.palette is None


def test_a_jpeg_is_not_a_mask(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "mask.png", format="JPEG")
    with pytest.raises(ValueError, match=r"mask\.png: a JPEG.* as PNG"):
        images.read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize(("wrong", "where"), [(21, (1, 2)), (-1, (1, 2)), (300, (1, 2))])
def test_an_index_beyond_the_classes_is_named_with_its_position(wrong, where):
    label = np.zeros((3, 4), np.int64)
    label[0, 0], label[where] = 255, wrong
    with pytest.raises(ValueError, match=rf"mine: index {wrong} at .*\(1, 2\).*0\.\.20, or 255"):
        images.check_indices(label, 21, 255, "mine")
    label[where] = 20
    images.check_indices(label, 21, 255, "mine")


def test_only_the_colours_in_use_are_compared():
    mask = images.MaskFile(np.array([[0, 2]], np.uint8), [0, 0, 0, 9, 9, 9, 1, 2, 3])
    images.check_palette(mask, {0: (0, 0, 0), 1: (7, 7, 7), 2: (1, 2, 3)}, "mask.png")
    with pytest.raises(ValueError, match=r"mask\.png: .* index 2 .*\(1, 2, 3\), .*\(4, 5, 6\).*\(0, 1\)"):
        images.check_palette(mask, {2: (4, 5, 6)}, "mask.png")


@pytest.mark.parametrize(
    ("values", "listed_first"),
    [
        ([3], True),
        ([4], True),
        ([3, 4, 5], True),
        ([3, 5], True),
        ([5], False),
        ([38, 75], False),
        ([3, 90], False),
    ],
)
def test_the_likelier_cause_of_values_without_a_class_comes_first(values, listed_first):
    label = np.resize(np.array([0, 1, 2, 255, *values], np.uint8), (4, 9))
    with pytest.raises(ValueError, match=f"index {values[0]} ") as caught:
        images.check_indices(label, 3, 255, "mine")
    causes = [str(caught.value).index(words) for words in ("list of ", "palette PNG")]
    assert (causes[0] < causes[1]) == listed_first
    assert ("the mask also holds " in str(caught.value)) == listed_first


def test_an_index_beyond_the_palette_is_refused():
    """A file that PIL itself cannot write, but others can."""
    mask = images.MaskFile(np.array([[0, 15]], np.uint8), palette()[: 3 * 4])
    with pytest.raises(ValueError, match=r"short\.png: its palette gives index 15 the colour none"):
        images.check_palette(mask, dict(enumerate(voc.VOC_COLORMAP)), "short.png")


@pytest.mark.parametrize("wrong", [np.eye(3, dtype=bool)[1:], torch.eye(3, dtype=torch.bool)[1:]])
def test_the_first_true_pixel_is_found(wrong):
    assert images.first_true(wrong) == (0, 1)


def test_a_pair_must_agree_in_size_and_dtype():
    image, label = torch.zeros(3, 4, 5, dtype=torch.uint8), torch.zeros(4, 5, dtype=torch.uint8)
    images.check_pair(image, label, "a.jpg")
    for other in (label[:-1], label[None]):
        with pytest.raises(ValueError, match=r"a\.jpg: image \(3, 4, 5\) and label .* do not fit"):
            images.check_pair(image, other, "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg: expected uint8, got .*uint8 and label torch.int64"):
        images.check_pair(image, label.long(), "a.jpg")
