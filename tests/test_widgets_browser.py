"""The callbacks are tested by the numbers and the pixels that they change."""

import io

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image
from voc_layout import make_folder

from d2lseg import classes, plotting, voc
from d2lseg.widgets import DatasetBrowser, browser


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.fixture
def folder(tmp_path):
    make_folder(tmp_path)
    return tmp_path


def test_the_first_image_is_shown_as_an_overlay(folder):
    shown = DatasetBrowser(folder)
    image, label = voc.VOCSegDataset(folder)[0]
    assert torch.equal(shown.pixels, plotting.overlay(image, label, 0.6))
    assert shown.split.options == ("train", "val") and shown.index.max == 4
    assert shown.caption.value == browser.describe("train_00", label)
    drawn = browser.draw(image, label, "overlay", 0.6, "train_00")
    assert shown.image.value == browser.png(drawn)


def test_the_slider_changes_pixels_label_and_caption(folder):
    shown, plain = DatasetBrowser(folder), voc.VOCSegDataset(folder)
    for index in (3, 1, 4):
        before = shown.image.value
        shown.index.value = index
        image, label = plain[index]
        assert torch.equal(shown.label, label) and torch.equal(shown.pixels, plotting.overlay(image, label))
        assert shown.caption.value.startswith(f"train_0{index}: {label.shape[0]} x {label.shape[1]} pixels")
        assert np.abs(pixels(shown.image.value) - pixels(before)).max() > 100


def test_the_list_changes_the_dataset_and_starts_at_its_top(folder):
    shown = DatasetBrowser(folder, index=4)
    shown.split.value = "val"
    assert (shown.index.value, shown.index.max) == (0, 1)
    assert torch.equal(shown.label, voc.VOCSegDataset(folder, "val")[0][1])
    shown.index.value = 1
    shown.split.value = "train"
    assert (shown.index.value, shown.index.max) == (0, 4) and shown.caption.value.startswith("train_00")


def test_opacity_and_view_change_the_pixels_as_they_say(folder):
    shown = DatasetBrowser(folder, opacity=0)
    image, label = voc.VOCSegDataset(folder)[0]
    assert torch.equal(shown.pixels, image)
    shown.opacity.value = 1.0
    objects = label != 0
    assert torch.equal(shown.pixels[:, objects], voc.label2image(label)[:, objects])
    assert torch.equal(shown.pixels[:, ~objects], image[:, ~objects])
    full = pixels(shown.image.value)
    shown.opacity.value = 0.5
    assert not np.array_equal(pixels(shown.image.value), full)
    shown.view.value = "mask"
    assert torch.equal(shown.pixels, voc.label2image(label))
    shown.view.value = "image"
    assert torch.equal(shown.pixels, image)


def test_every_image_has_the_same_size(folder):
    shown = DatasetBrowser(folder)
    sizes = set()
    for index in range(5):
        shown.index.value = index
        sizes.add(pixels(shown.image.value).shape)
    assert sizes == {(320, 600, 3)}
    assert (shown.image.layout.width, shown.image.layout.height) == ("600px", "320px")


def test_lists_stand_in_the_order_train_val_others(folder):
    lists = folder / "ImageSets" / "Segmentation"
    (lists / "extra.txt").write_text("train_03\n")
    shown = DatasetBrowser(folder, split="extra")
    assert shown.split.options == ("train", "val", "extra") and shown.split.value == "extra"
    assert shown.caption.value.startswith("train_03") and shown.index.max == 0


def test_describe_gives_the_shares_of_all_pixels():
    label = torch.tensor([[0, 0, 0, 0, 12], [255, 255, 0, 12, 12]], dtype=torch.uint8)
    text = "x: 2 x 5 pixels; background 50.0%, dog 30.0%, void 20.0%"
    assert browser.describe("x", label) == text


def test_broken_files_are_reported_not_hidden(folder):
    shown = DatasetBrowser(folder)
    (folder / "JPEGImages" / "train_02.jpg").write_text("broken")
    before = shown.image.value
    shown.index.value = 2
    assert "train_02.jpg: cannot be read" in shown.caption.value and shown.image.value != before
    shown.index.value = 0
    assert shown.image.value == before
    (folder / "JPEGImages" / "val_01.jpg").unlink()
    shown.split.value = "val"
    assert "val_01.jpg: missing" in shown.caption.value and shown.image.value != before


def test_names_cannot_smuggle_in_html(tmp_path):
    make_folder(tmp_path, {"train": [(8, 8)]})
    for path in [*tmp_path.glob("JPEGImages/*"), *tmp_path.glob("SegmentationClass/*")]:
        path.rename(path.with_stem("<b>x"))
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("<b>x\n")
    assert DatasetBrowser(tmp_path).caption.value.startswith("&lt;b&gt;x: 8 x 8")


def test_a_folder_without_lists_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.txt: no such list"):
        DatasetBrowser(tmp_path)


def test_unknown_views_are_refused():
    image, label = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"view .*image, overlay, mask, .*'both'"):
        browser.compose(image, label, "both")


def test_it_is_made_of_plain_widgets(folder):
    """Of those that ipywidgets 7.7 has as well; an Output stays silent on Colab."""
    allowed = {"VBox", "HBox", "Dropdown", "IntSlider", "FloatSlider", "Image", "HTML"}

    def kinds(widget):
        yield next(c.__name__ for c in type(widget).__mro__ if c.__module__.startswith("ipywidgets"))
        for child in getattr(widget, "children", ()):
            yield from kinds(child)

    assert isinstance(DatasetBrowser(folder), ipywidgets.DOMWidget)
    assert set(kinds(DatasetBrowser(folder))) == allowed


def test_names_and_colours_are_those_of_the_folder(tmp_path):
    labels = make_folder(tmp_path, {"train": [(40, 60)]})
    mask = tmp_path / "SegmentationClass" / "train_00.png"
    own = classes.ClassList(("ground", "cup", "pen"), ((0, 0, 0), (1, 2, 3), (250, 5, 6)))
    label = torch.from_numpy(labels["train_00"] // 7 % 3)
    voc.write_mask(mask, label, own)
    classes.write_classes(tmp_path / "classes.txt", own)
    shown = DatasetBrowser(tmp_path)
    shown.view.value = "mask"
    assert torch.equal(shown.pixels, voc.label2image(label, own.colormap))
    assert "cup" in shown.caption.value and "aeroplane" not in shown.caption.value
    figure = browser.draw(*shown.dataset[0], classes=own)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"cup", "pen"}


def test_of_many_classes_the_caption_names_ten():
    own = classes.ClassList(tuple(f"class {i}" for i in range(30)))
    label = torch.arange(24, dtype=torch.uint8).view(4, 6)
    text = browser.describe("x", label, own)
    assert text.count("class") == 10 and text.endswith("and 14 more")
