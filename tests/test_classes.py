import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from voc_layout import make_folder

from d2lseg import classes, fcn, metrics, plotting, prediction, training, voc
from d2lseg.classes import ClassList

ROAD = ClassList(("background", "road", "sky"), ((0, 0, 0), (1, 2, 3), (9, 8, 7)))


def test_the_palette_begins_with_vocs_colours_and_ends_with_voids():
    whole = classes.voc_colormap(256)
    assert whole[:21] == classes.VOC_COLORMAP and whole[255] == classes.VOID_COLOR
    assert len(set(whole)) == 256
    assert all(classes.voc_colormap(n) == whole[:n] for n in (1, 2, 100))


@pytest.mark.parametrize("count", [0, 257])
def test_there_are_256_colours(count):
    with pytest.raises(ValueError, match=f"num_classes is {count}, .* 1 to 256"):
        classes.voc_colormap(count)


@pytest.mark.parametrize(
    ("names", "colours", "words"),
    [
        (("background",), None, "1 classes; expected 2 to 255"),
        (tuple(map(str, range(256))), None, "256 classes; expected 2 to 255"),
        (("a", "b", "a"), None, "'a' is there twice"),
        (("a", "b"), ((0, 0, 0),), "1 different colours for 2 classes"),
        (("a", "b"), ((0, 0, 0), (0, 0, 0)), "1 different colours for 2 classes"),
        (("a", "b"), ((0, 0, 0), classes.VOID_COLOR), "none of them void's"),
    ],
)
def test_what_is_no_list_of_classes_is_refused(names, colours, words):
    with pytest.raises(ValueError, match=words):
        ClassList(names, colours)


def test_255_classes_are_allowed():
    many = ClassList(tuple(map(str, range(255))))
    assert len(many.colormap) == 255
    assert ClassList(many.names, many.colormap).colours == many.colormap


letter = st.characters(codec="utf-8", categories=["L"])
rest = st.text(st.characters(codec="utf-8", categories=["L", "P"]), max_size=9)
name = st.builds(lambda first, rest: (first + rest).strip(), letter, rest)
# a colon, a comma or a bracket at the end is a sign of another format
names = st.lists(name.filter(lambda n: n[-1] not in ":{[," and "::" not in n), min_size=2, unique=True)


@settings(deadline=None)
@given(names, st.booleans(), st.booleans())
def test_what_is_written_is_read(tmp_path_factory, names, coloured, windows):
    table = ClassList(tuple(names), classes.voc_colormap(len(names)) if coloured else None)
    lines = [" ".join([n, *map(str, table.colormap[i])]) if coloured else n for i, n in enumerate(names)]
    path = tmp_path_factory.mktemp("list") / "classes.txt"
    path.write_bytes(("\r\n" if windows else "\n").join([*lines, "", ""]).encode("utf-8-sig"))
    assert classes.read_classes(path) == table


@settings(deadline=None)
@given(names, st.booleans())
def test_what_write_classes_writes_is_read(tmp_path_factory, names, coloured):
    table = ClassList(tuple(names), classes.voc_colormap(len(names)) if coloured else None)
    path = classes.write_classes(tmp_path_factory.mktemp("list") / "classes.txt", table)
    assert classes.read_classes(path) == table


@pytest.mark.parametrize("name", ["road 1 2 3", "two\nlines", " blank", "", "road 1 2 300"])
def test_a_name_that_would_be_read_as_another_is_not_written(tmp_path, name):
    with pytest.raises(ValueError, match=rf"classes\.txt: .*{re.escape(repr(name))}"):
        classes.write_classes(tmp_path / "classes.txt", ClassList(("background", name)))
    assert list(tmp_path.iterdir()) == []


def test_a_name_may_have_blanks_and_numbers(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("background\nroute 66\nzone 30 40\n")
    assert classes.read_classes(path).names == ("background", "route 66", "zone 30 40")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 classes"),
        (b"a\nb 1 2 3\n", "1 of 2"),
        (b"a 0 0 0\nb 1 2 256\n", "above 255"),
        (b"a\nb\xff\n", "as UTF-8"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, words):
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"classes\.txt: .*{words}"):
        classes.read_classes(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such file"):
        classes.read_classes(tmp_path / "none.txt")


LABEL = np.array([[0, 1, 2], [255, 2, 1]], np.uint8)


def save_mask(path, kind, colours):
    """Write LABEL as a mask of one of the three kinds."""
    table = {**dict(enumerate(colours)), 255: classes.VOID_COLOR}
    if kind == "RGB":
        image = Image.fromarray(np.array([[table[i] for i in row] for row in LABEL.tolist()], np.uint8))
    else:
        image = Image.fromarray(LABEL, "L")
        if kind == "P":
            image.putpalette([value for i in range(256) for value in table.get(i, (0, 0, 0))])
    image.save(path)


@pytest.mark.parametrize("kind", ["P", "L", "RGB"])
@pytest.mark.parametrize("table", [ROAD, ClassList(ROAD.names)])
def test_masks_of_own_classes_are_read(tmp_path, kind, table):
    save_mask(tmp_path / "mask.png", kind, table.colormap)
    assert np.array_equal(voc.read_mask(tmp_path / "mask.png", table), LABEL)


def test_another_palette_is_refused_only_where_colours_are_known(tmp_path):
    save_mask(tmp_path / "mask.png", "P", ((7, 7, 7), (8, 8, 8), (9, 9, 9)))
    assert np.array_equal(voc.read_mask(tmp_path / "mask.png", ClassList(ROAD.names)), LABEL)
    with pytest.raises(ValueError, match=r"mask\.png: .*index 0 .*\(7, 7, 7\)"):
        voc.read_mask(tmp_path / "mask.png", ROAD)


@pytest.mark.parametrize("kind", ["P", "L", "RGB"])
def test_an_index_or_colour_of_no_class_is_refused(tmp_path, kind):
    save_mask(tmp_path / "mask.png", kind, ROAD.colormap)
    two = ClassList(ROAD.names[:2], ROAD.colours[:2])
    with pytest.raises(ValueError, match=r"mask\.png: (index 2|colour \(9, 8, 7\)) at .*\(0, 2\)"):
        voc.read_mask(tmp_path / "mask.png", two)


def test_a_folder_tells_its_classes(tmp_path):
    labels = make_folder(tmp_path)
    assert voc.folder_classes(tmp_path) == classes.VOC
    assert voc.VOCSegDataset(tmp_path).classes == classes.VOC_CLASSES
    own = [f"class{i}" for i in range(21)]
    (tmp_path / "classes.txt").write_text("\n".join(own))
    data = voc.VOCSegDataset(tmp_path)
    assert data.classes == tuple(own) and data.class_list.colours is None
    assert np.array_equal(data[0][1], labels["train_00"])
    given = voc.VOCSegDataset(tmp_path, classes=classes.VOC)
    assert given.classes == classes.VOC_CLASSES
    few = voc.VOCSegDataset(tmp_path, classes=ROAD)
    with pytest.raises(ValueError, match=r"train_00\.png: index"):
        few[0]


@pytest.mark.parametrize("suffix", [".png", ".jpeg"])
def test_images_may_be_png_or_jpeg(tmp_path, suffix):
    make_folder(tmp_path)
    old = tmp_path / "JPEGImages" / "train_00.jpg"
    want = voc.read_image(old)
    if suffix == ".png":
        Image.open(old).save(old.with_suffix(suffix))
        old.unlink()
    else:
        old.rename(old.with_suffix(suffix))
    assert torch.equal(voc.VOCSegDataset(tmp_path)[0][0], want)


@pytest.mark.slow
def test_255_own_classes_go_from_a_folder_to_figures(tmp_path):
    """RGB masks in own colours, PNG images of odd sizes: trained, scored, saved, predicted and drawn."""
    own = ClassList(tuple(f"kind {i}" for i in range(255)), classes.voc_colormap(255)[::-1])
    for name in ("a", "b", "c"):
        path = tmp_path / "JPEGImages" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        height, width = {"a": (33, 70), "b": (64, 40), "c": (1, 300)}[name]
        label = torch.arange(height * width).remainder(256).to(torch.uint8).view(height, width)
        image = voc.label2image(label, own.colormap).permute(1, 2, 0).numpy()
        Image.fromarray(image).save(path)
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "SegmentationClass" / path.name)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    classes.write_classes(tmp_path / "classes.txt", own)

    train_iter, val_iter = voc.load_data_voc(tmp_path, batch_size=2, crop_size=(32, 64))
    dataset = val_iter.dataset
    model = fcn.FCN8s(len(dataset.classes), classes=dataset.class_list)
    training.train(model, train_iter, epochs=1, precision="float32", live=False)
    scores = metrics.scores(training.evaluate(model, val_iter, precision="float32"))
    again = fcn.load(fcn.save(model, tmp_path / "model.pt"))
    assert (again.classes, again.colormap) == (own.names, own.colours)
    image, label = dataset[0]
    assert label.unique().numel() == 256
    guess = prediction.predict(again, image)
    names, palette = again.classes, again.colormap
    axes = plotting.show_predictions([image], [guess], [label], names, palette=palette)
    texts = [text.get_text() for text in axes[0, 0].figure.legends[0].get_texts()]
    assert texts[-1].startswith("and ") and texts[0].startswith("kind")
    assert plotting.plot_class_iou(scores.per_class, names).get_yticklabels()[0].get_text() in names
