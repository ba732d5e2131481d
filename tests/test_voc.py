import copy
import functools
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.transforms import v2
from voc_layout import SIZES, make_folder, write_mask

from d2lseg import voc
from d2lseg.classes import voc_colormap
from d2lseg.engine import files, sampling

LABELS = st.builds(
    lambda seed, height, width: torch.from_numpy(
        np.random.default_rng(seed).choice([*range(21), 255], (height, width)).astype(np.uint8)
    ),
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 12),
)


@pytest.fixture
def folder(tmp_path):
    make_folder(tmp_path / "set")
    return tmp_path / "set"


# ------------------------------------------------------------------ constants and places


def test_colormap_is_the_devkits_bit_pattern():
    """VOC's development kit makes colour i by spreading the bits of i over red, green and blue."""
    expected = []
    for index in range(256):
        colour, rest = [0, 0, 0], index
        for bit in range(7, -1, -1):
            for channel in range(3):
                colour[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        expected.append(tuple(colour))
    assert voc.VOC_COLORMAP == tuple(expected[:21]) and voc.VOID_COLOR == expected[255]


def test_classes_are_in_alphabetical_order_after_background():
    assert len(voc.VOC_CLASSES) == len(voc.VOC_COLORMAP) == 21
    assert voc.VOC_CLASSES[0] == "background" and list(voc.VOC_CLASSES[1:]) == sorted(voc.VOC_CLASSES[1:])


def test_mean_colour_is_imagenets():
    assert voc.MEAN_COLOR == tuple(round(255 * mean) for mean in (0.485, 0.456, 0.406))


def test_data_dir_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("D2LSEG_DATA", str(tmp_path / "new" / "place"))
    assert voc.data_dir() == tmp_path / "new" / "place" and voc.data_dir().is_dir()


def test_data_dir_in_and_out_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.delenv("D2LSEG_DATA", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: tmp_path / "home"))
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site" / "d2lseg" / "engine" / "files.py"))
    assert voc.data_dir() == tmp_path / "home" / ".cache" / "d2lseg"
    (tmp_path / "site" / "notebooks").mkdir(parents=True)
    (tmp_path / "site" / "pyproject.toml").touch()
    assert voc.data_dir() == tmp_path / "site" / "data"


# ------------------------------------------------------------------ reading images


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_read_image_equals_pil(tmp_path, mode):
    path = tmp_path / "photo.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    image = voc.read_image(path)
    assert image.dtype == torch.uint8 and image.is_contiguous()
    assert np.array_equal(image.permute(1, 2, 0), np.array(Image.open(path).convert("RGB")))


def test_read_image_turns_a_photo_upright(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 16, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: show it turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    turned = np.rot90(pixels, k=-1)
    assert np.array_equal(voc.read_image(tmp_path / "photo.png").permute(1, 2, 0), turned)


@pytest.mark.parametrize("reader", [voc.read_image, voc.read_mask])
def test_files_that_are_no_images_are_named(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        reader(tmp_path / "absent.png")
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"text\.png: .*Replace"):
        reader(tmp_path / "text.png")
    write_mask(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 21, (64, 64)))
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"cut\.png: .*Replace"):
        reader(tmp_path / "cut.png")


# ------------------------------------------------------------------ masks


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_colours_and_indices_are_inverse(label):
    image = voc.label2image(label)
    assert image.dtype == torch.uint8 and image.shape == (3, *label.shape)
    assert torch.equal(voc.voc_label_indices(image), label)
    by_hand = [voc.VOID_COLOR if i == 255 else voc.VOC_COLORMAP[i] for i in label.flatten().tolist()]
    assert image.permute(1, 2, 0).reshape(-1, 3).tolist() == [list(colour) for colour in by_hand]


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_palette_grey_and_rgb_masks_read_alike(tmp_path_factory, label):
    folder = tmp_path_factory.mktemp("mask")
    write_mask(folder / "palette.png", label)
    Image.fromarray(label.numpy(), "L").save(folder / "grey.png")
    Image.fromarray(voc.label2image(label).permute(1, 2, 0).numpy()).save(folder / "rgb.png")
    for name in ("palette", "grey", "rgb"):
        mask = voc.read_mask(folder / f"{name}.png")
        assert mask.dtype == torch.uint8 and torch.equal(mask, label)


@settings(max_examples=50, deadline=None)
@given(LABELS, st.booleans())
def test_a_mask_that_is_written_is_read(tmp_path_factory, label, own):
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    colours = tuple((9, i, i) for i in range(21)) if own else voc.VOC_COLORMAP
    classes = voc.ClassList(voc.VOC_CLASSES, colours)
    voc.write_mask(path, label, classes)
    assert torch.equal(voc.read_mask(path, classes), label)  # which checks the palette too
    with Image.open(path) as mask:
        painted = torch.from_numpy(np.array(mask.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(painted, voc.label2image(label, colours))


def test_the_colours_beyond_the_classes_are_vocs(tmp_path):
    voc.write_mask(tmp_path / "two.png", np.zeros((1, 1), np.uint8), voc.ClassList(("a", "b")))
    with Image.open(tmp_path / "two.png") as mask:
        assert np.reshape(mask.getpalette(), (256, 3)).tolist() == list(map(list, voc_colormap(256)))


def test_small_palettes_are_enough(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "L")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(tmp_path / "two.png", bits=1)
    assert voc.read_mask(tmp_path / "two.png").tolist() == [[0, 1], [1, 0]]


def test_an_unknown_index_is_named_with_its_position(tmp_path):
    label = np.zeros((5, 7), np.uint8)
    label[3, 4] = 21
    write_mask(tmp_path / "bad.png", label)
    Image.fromarray(label, "L").save(tmp_path / "grey.png")
    for name in ("bad.png", "grey.png"):
        with pytest.raises(ValueError, match=rf"{name}: index 21 .*\(3, 4\).*0\.\.20, or 255"):
            voc.read_mask(tmp_path / name)


def test_a_brightness_mask_is_refused(tmp_path):
    """What other readers make of a palette PNG: void is 220 then, which no class has."""
    write_mask(tmp_path / "palette.png", [[0, 15, 255]])
    Image.open(tmp_path / "palette.png").convert("RGB").convert("L").save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match="holds brightness"):
        voc.read_mask(tmp_path / "grey.png")


def test_an_unknown_colour_is_named_with_its_position(tmp_path):
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[2, 5] = (128, 0, 1)
    Image.fromarray(colours).save(tmp_path / "odd.png")
    with pytest.raises(ValueError, match=r"odd\.png: .*\(128, 0, 1\) .*\(2, 5\)"):
        voc.read_mask(tmp_path / "odd.png")


def test_another_palette_is_refused(tmp_path):
    image = Image.fromarray(np.array([[0, 0], [0, 2]], np.uint8), "L")
    image.putpalette([0, 0, 0, 1, 2, 3, 9, 9, 9])
    image.save(tmp_path / "theirs.png")
    with pytest.raises(ValueError, match=r"theirs\.png: .*index 2 .*\(9, 9, 9\).*\(1, 1\)"):
        voc.read_mask(tmp_path / "theirs.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "1"])
def test_other_modes_are_refused(tmp_path, mode):
    Image.new(mode, (3, 3)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=rf"mask\.png: its PIL mode is '{mode}'"):
        voc.read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize(
    "wrong", [torch.zeros(4, 4), torch.zeros(3, 4, 4), torch.zeros(4, 4, 3, dtype=torch.uint8)]
)
def test_voc_label_indices_wants_uint8_rgb(wrong):
    with pytest.raises(ValueError, match=r"mine: expected uint8 RGB \(3, H, W\)"):
        voc.voc_label_indices(wrong, "mine")


def test_label2image_refuses_what_it_cannot_paint():
    with pytest.raises(ValueError, match=r"index 2 at \(row, column\) \(0, 1\)"):
        voc.label2image(torch.tensor([[0, 2]]), colormap=voc.VOC_COLORMAP[:2])
    with pytest.raises(ValueError, match="index -1"):
        voc.label2image(torch.tensor([[-1]]))
    for wrong in (torch.zeros(2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="expected integer indices"):
            voc.label2image(wrong)


# ------------------------------------------------------------------ crop and flip


def coordinates(height, width):
    """An image that says where each pixel comes from, and a label that says the same."""
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack((row, column, torch.zeros_like(row))).to(torch.uint8)
    return image, (row * 16 + column).to(torch.uint8)


@settings(max_examples=150, deadline=None)
@given(*[st.integers(1, 15)] * 4, st.integers(0, 2**31))
def test_crop_keeps_image_and_label_together(height, width, crop_height, crop_width, seed):
    image, label = coordinates(height, width)
    before = image.clone(), label.clone()
    generator = torch.Generator().manual_seed(seed)
    crop, crop_label = voc.voc_rand_crop(image, label, crop_height, crop_width, generator)
    assert crop.shape == (3, crop_height, crop_width) and crop_label.shape == (crop_height, crop_width)
    inside = crop_label != voc.VOID
    assert inside.sum() == min(height, crop_height) * min(width, crop_width)
    assert torch.equal((crop[0] * 16 + crop[1])[inside], crop_label[inside])
    assert all(tuple(pixel) == voc.MEAN_COLOR for pixel in crop[:, ~inside].T.tolist())
    rows, columns = crop[0][inside], crop[1][inside]  # one unbroken window, no pixel twice
    assert rows.max() - rows.min() + 1 == min(height, crop_height)
    assert columns.max() - columns.min() + 1 == min(width, crop_width)
    assert torch.equal(image, before[0]) and torch.equal(label, before[1])


@pytest.mark.parametrize(
    ("size", "crop", "places"),
    [((6, 7), (4, 4), 12), ((3, 5), (5, 5), 3), ((3, 9), (4, 8), 4), ((4, 4), (4, 4), 1)],
)
def test_every_crop_position_is_reached(size, crop, places):
    image, label = coordinates(*size)
    generator = torch.Generator().manual_seed(0)
    seen = {
        voc.voc_rand_crop(image, label, *crop, generator)[1].numpy().tobytes() for _ in range(40 * places)
    }
    assert len(seen) == places


def test_the_alignment_oracle_can_fail():
    """Two independent crops, the classic mistake, do not pass the test above."""
    image, label = coordinates(12, 12)
    generator = torch.Generator().manual_seed(0)
    crop, _ = voc.voc_rand_crop(image, label, 5, 5, generator)
    _, other = voc.voc_rand_crop(image, label, 5, 5, generator)
    assert not torch.equal(crop[0] * 16 + crop[1], other)


def test_flip_mirrors_both_or_neither():
    image, label = coordinates(5, 9)
    generator = torch.Generator().manual_seed(0)
    flipped = 0
    for _ in range(200):
        new_image, new_label = voc.voc_rand_flip(image, label, generator)
        assert torch.equal(new_image[0] * 16 + new_image[1], new_label)
        turned = torch.equal(new_image, image.flip(-1))
        assert turned or torch.equal(new_image, image)
        flipped += turned
    assert 70 < flipped < 130


@pytest.mark.parametrize(
    "function", [voc.voc_rand_flip, functools.partial(voc.voc_rand_crop, height=2, width=2)]
)
def test_pairs_that_do_not_fit_are_refused(function):
    with pytest.raises(ValueError, match=r"\(3, 4, 5\) and label \(5, 4\) do not fit"):
        function(torch.zeros(3, 4, 5, dtype=torch.uint8), torch.zeros(5, 4, dtype=torch.uint8))


def test_other_numbers_than_bytes_are_refused():
    image, label = coordinates(4, 4)
    for pair in [(image.float(), label), (image, label.long())]:
        with pytest.raises(ValueError, match="expected uint8, got image"):
            voc.voc_rand_crop(*pair, 2, 2)


def test_a_crop_without_pixels_is_refused():
    with pytest.raises(ValueError, match="0 x 3"):
        voc.voc_rand_crop(*coordinates(4, 4), 0, 3)


# ------------------------------------------------------------------ the data set


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_dataset_reads_every_image_whole(folder):
    labels = make_folder(folder)
    for split, count in (("train", 5), ("val", 2), ("trainval", 7)):
        dataset = voc.VOCSegDataset(folder, split)
        assert len(dataset) == count and dataset.classes == voc.VOC_CLASSES
        for name, (image, label) in zip(dataset.ids, (dataset[i] for i in range(count)), strict=True):
            expected = np.array(Image.open(folder / "JPEGImages" / f"{name}.jpg").convert("RGB"))
            assert np.array_equal(image.permute(1, 2, 0), expected)
            assert np.array_equal(label, labels[name])


def test_a_trainval_list_of_its_own_is_used(folder):
    (folder / "ImageSets/Segmentation/trainval.txt").write_text("val_01\n\n  train_00 \n")
    assert voc.VOCSegDataset(folder, "trainval").ids == ["val_01", "train_00"]


def test_indexing_like_a_sequence(folder):
    dataset = voc.VOCSegDataset(folder)
    assert equal(dataset[-1], dataset[4])
    with pytest.raises(IndexError):
        dataset[5]
    assert len(list(dataset)) == 5


def test_reading_is_lazy(folder):
    dataset = voc.VOCSegDataset(folder, cache=True)
    (folder / "JPEGImages" / "train_03.jpg").write_text("broken after all")
    dataset[0]
    with pytest.raises(ValueError, match=r"train_03\.jpg: cannot be read"):
        dataset[3]


def test_read_voc_images(folder):
    images, labels = voc.read_voc_images(folder, "train", limit=3)
    assert [tuple(label.shape) for label in labels] == SIZES["train"][:3]
    assert [tuple(image.shape[1:]) for image in images] == SIZES["train"][:3]
    assert len(voc.read_voc_images(folder, "val")[0]) == 2


def test_missing_files_are_named_at_once(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"test\.txt: no such list.*voc\.download"):
        voc.VOCSegDataset(folder, "test")
    with pytest.raises(FileNotFoundError, match=r"train\.txt: no such list"):
        voc.VOCSegDataset(tmp_path / "elsewhere", "trainval")
    (folder / "SegmentationClass" / "train_02.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_02\.png: missing, but 'train' lists it"):
        voc.VOCSegDataset(folder, "train")
    (folder / "ImageSets/Segmentation/val.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"val\.txt: the list is empty"):
        voc.VOCSegDataset(folder, "val")


def test_sizes_of_image_and_mask_must_agree(folder):
    write_mask(folder / "SegmentationClass" / "train_00.png", np.zeros((60, 40)))
    with pytest.raises(ValueError, match=r"train_00\.jpg and its mask: image \(3, 40, 60\).*\(60, 40\)"):
        voc.VOCSegDataset(folder)[0]


@pytest.mark.parametrize("crop_size", [(3,), (0, 4), (1, 2, 3)])
def test_crop_sizes_are_checked(folder, crop_size):
    with pytest.raises(ValueError, match="crop_size"):
        voc.VOCSegDataset(folder, crop_size=crop_size)


def test_augmentation_depends_on_seed_epoch_and_index_only(folder):
    first = voc.VOCSegDataset(folder, crop_size=(16, 16), flip=True, seed=3)
    again = voc.VOCSegDataset(folder, crop_size=(16, 16), flip=True, seed=3, cache=True)
    there = [first[i] for i in range(5)]
    torch.manual_seed(99)
    back = [again[i] for i in reversed(range(5))][::-1]
    assert all(equal(a, b) for a, b in zip(there, back, strict=True))
    first.set_epoch(1)
    assert not any(equal(first[i], there[i]) for i in range(5))
    assert all(equal(first[(0, i)], there[i]) for i in range(5))
    first.set_epoch(0)
    assert all(equal(first[i], there[i]) for i in range(5))
    other = voc.VOCSegDataset(folder, crop_size=(16, 16), flip=True, seed=4)
    assert not any(equal(other[i], there[i]) for i in range(5))


def test_the_cache_gives_the_same_and_reads_once(folder):
    plain, cached = voc.VOCSegDataset(folder), voc.VOCSegDataset(folder, cache=True)
    first = [cached[i] for i in range(5)]
    shutil.copytree(folder / "JPEGImages", folder / "kept")
    shutil.rmtree(folder / "JPEGImages")
    for image, label in first:
        image.zero_(), label.zero_()  # a caller's paint must not reach the cache
    second = [cached[i] for i in range(5)]
    (folder / "kept").rename(folder / "JPEGImages")
    assert all(equal(second[i], plain[i]) for i in range(5))


def things_or_not(label):
    """Merge the 20 classes of things into class 1, in place."""
    label[(label > 0) & (label != voc.VOID)] = 1
    return label


@pytest.mark.parametrize("cache", [False, True])
def test_target_transform_maps_every_label_and_nothing_else(folder, cache):
    plain = voc.VOCSegDataset(folder)
    merged = voc.VOCSegDataset(folder, cache=cache, target_transform=things_or_not)
    for _ in range(2):  # the second time from the cache, which must not have been painted
        for (image, label), (same_image, mapped) in zip(plain, merged, strict=True):
            want = [min(v, 1) if v != 255 else 255 for v in label.flatten().tolist()]
            assert torch.equal(image, same_image) and mapped.flatten().tolist() == want
    merged.target_transform = lambda label: label
    assert all(equal(a, b) for a, b in zip(plain, merged, strict=True))


def test_target_transform_comes_before_the_crop_which_pads_with_void(folder):
    def black(label):
        return torch.zeros_like(label)

    options = {"crop_size": (80, 80), "flip": True, "seed": 3}  # larger than every image
    plain = voc.VOCSegDataset(folder, **options)
    blackened = voc.VOCSegDataset(folder, **options, target_transform=black)
    for (image, _), (same_image, label), size in zip(plain, blackened, SIZES["train"], strict=True):
        assert torch.equal(image, same_image)  # the same crop
        assert (label == 0).sum() == size[0] * size[1] and (label == voc.VOID).sum() == 80 * 80 - size[
            0
        ] * size[1]


@pytest.mark.parametrize("wrong", [lambda label: label[:-1], lambda label: label.long()])
@pytest.mark.parametrize("crop_size", [None, (16, 16)])
def test_a_target_transform_must_give_a_label(folder, wrong, crop_size):
    with pytest.raises(ValueError, match="target_transform: "):
        voc.VOCSegDataset(folder, crop_size=crop_size, target_transform=wrong)[0]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda dataset: pickle.loads(pickle.dumps(dataset))])
def test_copies_have_an_epoch_of_their_own(folder, clone):
    dataset = voc.VOCSegDataset(folder, crop_size=(8, 8))
    copied = clone(dataset)
    copied.set_epoch(5)
    assert dataset.epoch == 0 and copied.epoch == 5


# ------------------------------------------------------------------ batches


def batches(loader):
    return [(image.clone(), label.clone()) for image, label in loader]


def same(first, second):
    return len(first) == len(second) and all(equal(a, b) for a, b in zip(first, second, strict=True))


def test_shapes_and_order_of_batches(folder):
    train_iter, val_iter = voc.load_data_voc(folder, 2, (32, 48))
    assert [(tuple(x.shape), tuple(y.shape)) for x, y in train_iter] == [((2, 3, 32, 48), (2, 32, 48))] * 2
    assert [tuple(x.shape) for x, _ in val_iter] == [(1, 3, *size) for size in SIZES["val"]]
    plain = voc.VOCSegDataset(folder, "val")
    assert all(
        torch.equal(y[0], plain[i][1]) and torch.equal(x[0], plain[i][0]) for i, (x, y) in enumerate(val_iter)
    )
    assert all(x.dtype == y.dtype == torch.uint8 for x, y in train_iter)


def in_quarters(height, width):
    """An image of four flat quarters and a label that says which; each quarter has its own grey."""
    rows = (torch.arange(height) >= height // 2).byte()[:, None]
    label = 2 * rows + (torch.arange(width) >= width // 2).byte()  # (H, W): 0 to 3
    return (60 * label).expand(3, -1, -1).contiguous(), label


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("size", [(8, 16), (24, 16)])
def test_scaled_images_and_labels_lie_on_each_other(size, factor):
    image, label = in_quarters(*size)
    large, classes = voc.voc_rand_scale(image, label, factor, factor)
    assert classes.shape == large.shape[1:] == tuple(round(factor * side) for side in size)
    assert large.dtype == classes.dtype == torch.uint8
    assert classes.unique().tolist() == [0, 1, 2, 3]  # no class between two others
    flat = large[0] == 60 * classes
    inner = torch.ones_like(flat)
    for axis, side in enumerate(classes.shape):  # the grey changes gradually where two quarters meet
        inner.index_fill_(axis, torch.arange(side // 2 - 2, side // 2 + 2), False)
    assert flat[inner].all()
    assert classes.flatten().bincount().tolist() == [classes.numel() // 4] * 4


def test_a_factor_of_one_changes_nothing():
    image, label = torch.randint(256, (3, 9, 7), dtype=torch.uint8), torch.randint(22, (9, 7)).byte()
    assert all(map(torch.equal, voc.voc_rand_scale(image, label, 1, 1), (image, label)))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.1, 2), st.floats(1, 3), st.integers(0, 9))
def test_any_size_and_factor_gives_an_aligned_pair(height, width, low, ratio, seed):
    label = torch.randint(5, (height, width), generator=torch.Generator().manual_seed(seed)).byte()
    image = label.expand(3, -1, -1).contiguous()
    large, classes = voc.voc_rand_scale(image, label, low, low * ratio, torch.Generator().manual_seed(seed))
    assert large.shape[1:] == classes.shape and min(classes.shape) >= 1
    for side, before in zip(classes.shape, label.shape, strict=True):
        assert max(1, round(low * before)) <= side <= max(1, round(low * ratio * before))
    assert set(classes.unique().tolist()) <= set(label.unique().tolist())


def test_the_dataset_scales_by_seed_epoch_and_index(folder):
    options = {"split": "train", "seed": 4, "scale": (0.5, 2)}
    first, second = voc.VOCSegDataset(folder, **options), voc.VOCSegDataset(folder, **options)
    assert all(map(torch.equal, first[0], second[0]))
    sizes = {first[epoch, 0][1].shape for epoch in range(5)}
    assert len(sizes) > 1
    train_iter, val_iter = voc.load_data_voc(folder, 2, (16, 16), 0, scale=(0.5, 2))
    assert train_iter.dataset.scale == (0.5, 2) and val_iter.dataset.scale is None
    assert next(iter(train_iter))[0].shape == (2, 3, 16, 16)


@pytest.mark.parametrize("scale", [(0, 1), (2, 1), (1,), (-1, 1)])
def test_impossible_factors_are_refused(folder, scale):
    with pytest.raises(ValueError, match=r"expected \(low, high\)"):
        voc.VOCSegDataset(folder, scale=scale)


def test_jitter_equals_torchvisions_functions_with_the_drawn_factors():
    image = torch.randint(256, (3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    factors = 0.6 + 0.8 * torch.rand(3, generator=torch.Generator().manual_seed(5))
    expected = v2.functional.adjust_brightness(image, factors[0].item())
    expected = v2.functional.adjust_contrast(expected, factors[1].item())
    expected = v2.functional.adjust_saturation(expected, factors[2].item())
    jittered = voc.voc_rand_jitter(image, 0.4, torch.Generator().manual_seed(5))
    assert jittered.dtype == torch.uint8 and not torch.equal(jittered, image)
    assert (jittered.int() - expected.int()).abs().max() <= 1  # the two round at different places
    assert torch.equal(voc.voc_rand_jitter(image, 0.0), image)


def test_the_dataset_jitters_colours_in_training_only(folder):
    plain, jittered = (voc.VOCSegDataset(folder, "train", jitter=strength) for strength in (0, 0.4))
    assert not torch.equal(plain[0][0], jittered[0][0]) and torch.equal(plain[0][1], jittered[0][1])
    assert torch.equal(jittered[3, 0][0], jittered[3, 0][0])
    assert not torch.equal(jittered[3, 0][0], jittered[4, 0][0])
    train_iter, val_iter = voc.load_data_voc(folder, 2, (16, 16), 0, jitter=0.4)
    assert train_iter.dataset.jitter == 0.4 and val_iter.dataset.jitter == 0
    with pytest.raises(ValueError, match="jitter is 1; expected a strength"):
        voc.VOCSegDataset(folder, jitter=1)


def test_target_transform_reaches_both_iterators_and_their_workers(folder):
    for workers in (0, 1):
        loaders = voc.load_data_voc(folder, 2, (16, 16), workers, target_transform=things_or_not)
        assert {v for loader in loaders for _, y in loader for v in y.unique().tolist()} == {0, 1, 255}


def test_a_batch_larger_than_the_set_drops_nothing(folder):
    train_iter, _ = voc.load_data_voc(folder, 8, (32, 48))
    assert [len(x) for x, _ in train_iter] == [5] and len(train_iter) == 1


def test_same_seed_same_batches_other_epoch_other_batches(folder):
    first, second = (voc.load_data_voc(folder, 2, (16, 16), seed=5)[0] for _ in range(2))
    zero, one = batches(first), batches(first)
    torch.manual_seed(1)
    assert same(batches(second), zero) and same(batches(second), one) and not same(zero, one)
    second.dataset.set_epoch(0)
    assert same(batches(second), zero)
    other = voc.load_data_voc(folder, 2, (16, 16), seed=6)[0]
    assert not same(batches(other), zero)


def test_drawing_batches_leaves_the_global_random_state_alone(folder):
    train_iter, val_iter = voc.load_data_voc(folder, 2, (16, 16))
    before = torch.get_rng_state()
    batches(train_iter), batches(val_iter)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("cache", [False, True])
def test_workers_change_nothing_even_when_they_live_on(folder, cache):
    alone = voc.load_data_voc(folder, 2, (16, 16), num_workers=0)
    helped = voc.load_data_voc(folder, 2, (16, 16), num_workers=2, cache=cache)
    for _ in range(2):
        assert same(batches(helped[0]), batches(alone[0]))
    for loader in (alone[0], helped[0]):
        next(iter(loader))  # a pass that is broken off counts as one
    assert same(batches(helped[0]), batches(alone[0]))
    for loader in (alone[0], helped[0]):
        loader.dataset.set_epoch(0)
    assert same(batches(helped[0]), batches(alone[0]))
    assert same(batches(helped[1]), batches(alone[1]))


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_that_live_on_see_set_epoch_with_plain_indices(folder, start):
    """As under DistributedSampler, whose indices carry no epoch."""
    dataset = copy.deepcopy(voc.VOCSegDataset(folder, crop_size=(8, 8), flip=True))
    sampler = DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=False)
    loader = DataLoader(
        dataset, 2, sampler=sampler, num_workers=1, persistent_workers=True, multiprocessing_context=start
    )
    for epoch in (0, 7):
        dataset.set_epoch(epoch)
        got = [label for _, labels in batches(loader) for label in labels]
        assert all(torch.equal(got[i], dataset[(epoch, i)][1]) for i in range(5))


@pytest.mark.parametrize(
    ("gpu", "platform", "expected"), [(False, "linux", 0), (True, "darwin", 0), (True, "linux", 1)]
)
def test_default_number_of_workers(folder, monkeypatch, gpu, platform, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(sampling.sys, "platform", platform)
    monkeypatch.setattr(sampling.os, "cpu_count", lambda: 1)
    train_iter, val_iter = voc.load_data_voc(folder, 2, (16, 16))
    assert train_iter.num_workers == val_iter.num_workers == expected


# ------------------------------------------------------------------ several processes


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_several_processes_share_the_images(tmp_path, world_size):
    make_folder(tmp_path)
    ranks = range(world_size)
    loaders = [voc.load_data_voc(tmp_path, 1, (20, 30), rank=r, world_size=world_size) for r in ranks]
    orders = [[index for _, index in train_iter.sampler] for train_iter, _ in loaders]
    assert len({len(order) for order in orders}) == 1, "all take equally many steps"
    assert all(len(train_iter) == len(order) for (train_iter, _), order in zip(loaders, orders, strict=True))
    together = [index for turn in zip(*orders, strict=True) for index in turn]
    alone = [index for _, index in voc.load_data_voc(tmp_path, 1, (20, 30))[0].sampler]
    assert together == (alone + alone)[: len(together)] and len(together) - len(alone) < world_size
    shapes = [tuple(image.shape) for _, val_iter in loaders for image, _ in val_iter]
    assert sorted(shapes) == sorted(tuple(i.shape) for i, _ in voc.load_data_voc(tmp_path, 1, (20, 30))[1])
