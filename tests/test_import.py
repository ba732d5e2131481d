"""The importer recognises what people have, reads it as the tool meant it, and says what it leaves out."""

import base64
import builtins
import io
import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from d2lseg import classes, cli, voc
from d2lseg.classes import ClassList
from d2lseg.cli import predict as predict_command
from d2lseg.datasets import convert, doctor
from d2lseg.datasets.recognise import recognise

NAMES = ("background", "cup", "pen")
SIZE = (20, 30)
SQUARE = {"label": "cup", "points": [[2, 3], [9, 3], [9, 12], [2, 12]], "shape_type": "polygon"}


def photo(path, size=SIZE, seed=0, **options):
    """Write an image of noise, and return its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def labelme(path, *shapes, image=None, **more):
    """Write a LabelMe file."""
    content = {"version": "5.4", "shapes": list(shapes), "imagePath": image or f"{path.stem}.jpg"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | {"imageData": None} | more))
    return path


def labelled(folder, names="abcd", shapes=(SQUARE,), suffix=".jpg", **options):
    """Write a folder of images with LabelMe files."""
    for seed, name in enumerate(names):
        photo(folder / f"{name}{suffix}", seed=seed, **options)
        labelme(folder / f"{name}.json", *shapes, image=f"{name}{suffix}")
    return folder


def label_of(seed, values=(0, 1, 2), size=SIZE):
    """Draw a label in which each value occurs."""
    label = np.random.default_rng(seed).choice(values, size).astype(np.uint8)
    label.flat[: len(values)] = values
    return label


def read(folder):
    """Return the labels of an imported folder by ID, and its images are read on the way."""
    data = voc.VOCSegDataset(folder, "trainval")
    return {name: label.numpy() for name, (_, label) in zip(data.ids, data, strict=True)}


def imported(source, tmp_path, *arguments, **options):
    return convert.import_dataset(source, tmp_path / "own", *arguments, **options)


def said(result):
    return "\n".join(map(str, result.findings))


def run(*words):
    return cli.main([str(word) for word in words])


# --- LabelMe ------------------------------------------------------------------------------------------------


def drawn(shape, **options):
    return convert.shape_mask(shape, *SIZE, **options)


def test_a_rectangle_of_four_corners_is_that_of_two():
    two = {"shape_type": "rectangle", "points": [[4.2, 5.9], [11.5, 9.1]]}
    four = {"shape_type": "rectangle", "points": [[4.2, 5.9], [11.5, 5.9], [11.5, 9.1], [4.2, 9.1]]}
    assert np.array_equal(drawn(two), drawn(four)) and drawn(two).sum() == 8 * 5


@pytest.mark.parametrize("kind", ["rectangle", "rotation", "oriented_rectangle"])
def test_a_turned_rectangle_is_the_polygon_of_its_corners(kind):
    corners = [[10, 2], [18, 8], [12, 16], [4, 10]]
    shape = {"shape_type": kind, "points": corners, "direction": 0.7}
    assert np.array_equal(drawn(shape), drawn({"shape_type": "polygon", "points": corners}))


coordinate = st.floats(-5, 35, allow_nan=False)
points = st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=5)


def from_segment(x, y, a, b):
    """How far a place is from the line between two points."""
    (x1, y1), (dx, dy) = a, (b[0] - a[0], b[1] - a[1])
    length = dx * dx + dy * dy
    t = 0 if length == 0 else min(1, max(0, ((x - x1) * dx + (y - y1) * dy) / length))
    return math.hypot(x - x1 - t * dx, y - y1 - t * dy)


@settings(deadline=None, max_examples=30)
@given(points, st.integers(1, 9), st.booleans())
def test_lines_and_points_have_the_pixels_that_a_naive_loop_finds(points, width, joined):
    mask = drawn({"shape_type": "linestrip" if joined else "points", "points": points}, line_width=width)
    pairs = list(pairwise(points)) if joined else [(p, p) for p in points]
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            far = min(from_segment(column + 0.5, row + 0.5, a, b) for a, b in pairs)
            if abs(far - width / 2) > 1e-6:
                assert mask[row, column] == (far < width / 2), (row, column)


def test_lines_are_drawn_on_request_and_named_without_it(tmp_path, capsys):
    crack = {"label": "crack", "shape_type": "linestrip", "points": [[1, 1], [15, 10], [28, 4]]}
    source = labelled(tmp_path / "photos", shapes=[SQUARE, crack])
    words = ["data", "import", source, "--out", tmp_path / "own"]
    assert run(*words) == 1
    assert (
        capsys.readouterr().err.count("a linestrip has no area; give its width in pixels: --line-width") == 4
    )
    assert run(*words, "--line-width", 3) == 0
    label = read(tmp_path / "own")["a"]
    assert np.array_equal(label == 2, drawn(crack, line_width=3) & ~drawn(SQUARE)) or (label == 2).any()
    assert voc.folder_classes(tmp_path / "own").names == ("background", "crack", "cup")


@pytest.mark.parametrize(
    ("said_path", "there"),
    [
        ("../images/{}.jpg", "{}.jpg"),
        ("D:\\data\\photos\\{}.jpg", "{}.jpg"),
        ("/home/me/{}.jpg", "{}.jpg"),
        ("{}.jpg", "{}.JPG"),
        ("..\\raw\\{}.jpg", "../raw/{}.jpg"),
        ("C:\\x\\{}.jpeg", "{}.JPEG"),
    ],
)
def test_an_image_is_found_beside_its_file(tmp_path, said_path, there):
    for name in "ab":
        photo(tmp_path / "json" / there.format(name))
        labelme(tmp_path / "json" / f"{name}.json", SQUARE, image=said_path.format(name))
    result = imported(tmp_path / "json", tmp_path)
    assert set(read(result.folder)) == {"a", "b"} and result.findings == []


def test_an_image_that_is_nowhere_is_named_with_near_misses(tmp_path):
    labelled(tmp_path / "json", "ab")
    (tmp_path / "json" / "a.jpg").rename(tmp_path / "json" / "a.png")
    with pytest.raises(FileNotFoundError, match=r"a\.jpg: no such image.* Beside it is a\.png: rename it"):
        imported(tmp_path / "json", tmp_path)


def test_phones_jpegs_with_a_second_image_are_copied_as_they_are(tmp_path):
    source = labelled(tmp_path / "photos", "ab")
    for name in "ab":
        first, second = (Image.fromarray(label_of(i) * 90).convert("RGB") for i in range(2))
        first.save(source / f"{name}.jpg", format="MPO", save_all=True, append_images=[second])
    result = imported(source, tmp_path)
    for name in "ab":
        new = result.folder / "JPEGImages" / f"{name}.jpg"
        assert new.read_bytes() == (source / f"{name}.jpg").read_bytes()


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".tif", ".gif", ".ppm"])
def test_other_formats_become_png_without_a_changed_pixel(tmp_path, suffix):
    source = labelled(
        tmp_path / "photos", "ab", suffix=suffix, **({"lossless": True} if "w" in suffix else {})
    )
    result = imported(source, tmp_path)
    for name in "ab":
        new = voc.read_image(result.folder / "JPEGImages" / f"{name}.png")
        assert torch.equal(new, voc.read_image(source / f"{name}{suffix}"))


def test_labels_txt_keeps_the_meaning_of_its_reserved_names(tmp_path):
    ignored = {"label": "__ignore__", "points": [[15, 2], [25, 15]], "shape_type": "rectangle"}
    source = labelled(tmp_path / "photos", shapes=[SQUARE, ignored])
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ncup\n")
    result = imported(source, tmp_path, tmp_path / "labels.txt")
    assert voc.folder_classes(result.folder).names == ("_background_", "cup")
    for label in read(result.folder).values():
        assert np.array_equal(label == 255, drawn(ignored))
        assert np.array_equal(label == 1, drawn(SQUARE))


def test_what_no_shape_covers_must_be_background(tmp_path):
    source = labelled(tmp_path / "photos")
    result = imported(source, tmp_path, ["pen", "cup"])
    assert "what no shape covers becomes 'pen', class 0; is that right?" in said(result)
    with pytest.raises(ValueError, match=r"background is class 1; .*put background first"):
        convert.import_dataset(source, tmp_path / "other", ["cup", "background"])


def test_images_that_nothing_labels_and_other_files_are_counted_and_named(tmp_path, capsys):
    source = labelled(tmp_path / "photos")
    for i in range(7):
        photo(source / f"extra{i}.jpg", seed=i)
    (source / "settings.json").write_text('{"theme": "dark"}')
    assert run("data", "labelme", source, "--out", tmp_path / "own") == 0
    printed = capsys.readouterr().out
    assert (
        "7 images left out: extra0.jpg, extra1.jpg, extra2.jpg, extra3.jpg, extra4.jpg and 2 more" in printed
    )
    assert "JSON files of another kind: settings.json; left out" in printed


def test_all_broken_files_are_named_at_once_and_can_be_left_out(tmp_path, capsys):
    source = labelled(tmp_path / "photos", "abcdef")
    (source / "a.json").write_text("{")
    (source / "b.json").write_bytes("{'数字'}".encode("gbk"))
    (source / "c.jpg").write_bytes((source / "c.jpg").read_bytes()[:200])
    labelme(source / "d.json", SQUARE | {"label": None})
    words = ["data", "import", source, "--out", tmp_path / "own"]
    assert run(*words) == 1
    err = capsys.readouterr().err
    faults = [line for line in err.splitlines() if line.startswith("fault: ")]
    assert [sum(f"{name}." in fault for fault in faults) for name in "abcd"] == [1, 1, 1, 1]
    assert "4 faults, see above, and nothing was written" in err and "--skip-bad" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    assert run(*words, "--skip-bad") == 0
    assert set(read(tmp_path / "own")) == {"e", "f"}
    assert capsys.readouterr().out.count("warning: left out: ") == 4


def test_files_without_any_label_say_what_is_wrong_with_them(tmp_path):
    source = labelled(tmp_path / "photos", "ab", shapes=[SQUARE | {"label": 7}])
    with pytest.raises(convert.BadFiles, match=r"a\.json: shape 1 has the label 7"):
        imported(source, tmp_path)


def test_an_image_written_into_the_file_by_a_browser_is_read(tmp_path):
    source = labelled(tmp_path / "photos", "ab")
    for name in "ab":
        data = base64.b64encode((source / f"{name}.jpg").read_bytes()).decode()
        (source / f"{name}.jpg").unlink()
        labelme(source / f"{name}.json", SQUARE, imageData=f"data:image/jpeg;base64,{data}")
    assert len(read(imported(source, tmp_path).folder)) == 2


def test_folders_for_train_and_val_are_kept_as_lists(tmp_path):
    labelled(tmp_path / "set" / "train", "abc")
    labelled(tmp_path / "set" / "valid", "ad")
    result = imported(tmp_path / "set", tmp_path)
    assert voc.VOCSegDataset(result.folder, "train").ids == ["train_a", "b", "c"]
    assert voc.VOCSegDataset(result.folder, "val").ids == ["val_a", "d"]


# --- COCO ---------------------------------------------------------------------------------------------------


def outline(*corners):
    return [[float(value) for corner in corners for value in corner]]


def coco(path, images, annotations, categories=((3, "pen"), (1, "cup"))):
    """Write a COCO file; annotations are (image number, category, segmentation)."""
    content = {
        "images": [
            {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for i, name in enumerate(images)
        ],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "segmentation": shape, "iscrowd": 0}
            for i, (image, category, shape) in enumerate(annotations)
        ],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return content


def runs(mask):
    """Count the run lengths of a mask column by column, from zeros on."""
    flat, counts, value = np.asarray(mask).T.ravel(), [0], 0
    for pixel in flat:
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"counts": [int(count) for count in counts], "size": list(mask.shape)}


TRIANGLE, BOX = outline((3, 2), (20, 4), (8, 15)), outline((10, 5), (28, 5), (28, 18), (10, 18))
HOLES = [*TRIANGLE, *outline((22, 1), (28, 1), (28, 4))]


def test_coco_polygons_and_run_lengths_are_what_pycocotools_draws(tmp_path):
    blob = label_of(5, (0, 1))
    packed = coco_mask.encode(np.asfortranarray(blob))
    compressed = {"counts": packed["counts"].decode(), "size": list(SIZE)}
    shapes = [(0, 1, HOLES), (0, 3, BOX), (1, 3, runs(blob)), (2, 1, compressed), (2, 3, TRIANGLE)]
    coco(tmp_path / "set" / "annotations" / "instances.json", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], shapes)
    for i, name in enumerate("abcd"):
        photo(tmp_path / "set" / "images" / f"{name}.jpg", seed=i)
    result = imported(tmp_path / "set", tmp_path)
    assert result.recognised.startswith("COCO (1 JSON file with 5 annotations)")
    assert voc.folder_classes(result.folder).names == NAMES  # in the order of the numbers, not of the file

    def drawn_by_coco(polygons):
        packed = coco_mask.merge(coco_mask.frPyObjects(polygons, *SIZE))
        return coco_mask.decode(packed).astype(bool)

    want = {name: np.zeros(SIZE, np.uint8) for name in "abcd"}
    want["a"][drawn_by_coco(HOLES)] = 1
    want["a"][drawn_by_coco(BOX)] = 2
    want["b"][blob > 0] = 2
    want["c"][blob > 0] = 1
    want["c"][drawn_by_coco(TRIANGLE)] = 2
    found = read(result.folder)
    assert found.keys() == want.keys()
    for name, label in found.items():
        assert np.array_equal(label, want[name]), name


@pytest.mark.parametrize(
    ("place", "file", "image"),
    [
        ("{}/_annotations.coco.json", "{name}.jpg", "{}/{name}.jpg"),
        ("annotations/instances_{}2017.json", "{name}.jpg", "{}2017/{name}.jpg"),
        ("labels-{}.json", "images/{name}.jpg", "images/{name}.jpg"),
    ],
)
def test_coco_files_for_train_and_val_are_kept_as_lists(tmp_path, place, file, image):
    for split, names in {"train": "ab", "val": "cd", "test": "e"}.items():
        files = [file.format(split, name=name) for name in names]
        shapes = [(i, k, BOX) for i in range(len(names)) for k in (1, 3)]
        coco(tmp_path / "set" / place.format(split), files, shapes)
        for seed, name in enumerate(names):
            photo(tmp_path / "set" / image.format(split, name=name), seed=seed)
    result = imported(tmp_path / "set", tmp_path)
    ids = {split: voc.VOCSegDataset(result.folder, split).ids for split in ("train", "val", "test")}
    assert ids == {"train": ["a", "b"], "val": ["c", "d"], "test": ["e"]}
    # "cup" lies below "pen" everywhere, and that is told
    assert "never in the masks: cup" in said(result)


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("annotations/c.json", "images/{}.jpg"),
        ("annotations/c.json", "{}.jpg"),
        ("annotations/train.json", "train2017/{}.jpg"),
        ("json/c.json", "images/{}.jpg"),
        ("c.json", "images/{}.jpg"),
    ],
)
def test_a_coco_file_alone_finds_its_images(tmp_path, file, image):
    coco(tmp_path / "set" / file, ["a.jpg", "b.jpg"], [(0, 1, BOX), (1, 3, BOX)])
    for seed, name in enumerate("ab"):
        photo(tmp_path / "set" / image.format(name), seed=seed)
    assert set(read(imported(tmp_path / "set" / file, tmp_path).folder)) == {"a", "b"}


def test_coco_categories_called_void_are_void(tmp_path):
    coco(
        tmp_path / "set" / "c.json",
        ["a.jpg", "b.jpg"],
        [(0, 1, BOX), (1, 3, BOX)],
        [(1, "Ignore"), (3, "pen")],
    )
    for name in "ab":
        photo(tmp_path / "set" / f"{name}.jpg")
    result = imported(tmp_path / "set", tmp_path)
    assert voc.folder_classes(result.folder).names == ("background", "pen")
    assert {*np.unique(read(result.folder)["a"])} == {0, 255}


def test_coco_images_and_categories_that_do_not_fit_are_named(tmp_path):
    content = coco(tmp_path / "set" / "c.json", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], [(3, 1, BOX)])
    photo(tmp_path / "set" / "a.jpg", (20, 31))
    photo(tmp_path / "set" / "c.jpg")
    photo(tmp_path / "set" / "d.jpg")
    photo(tmp_path / "set" / "more.jpg")
    with pytest.raises(convert.BadFiles) as error:
        imported(tmp_path / "set", tmp_path)
    assert "says 20 x 30 pixels (height x width) of a.jpg, but" in str(error.value)
    assert "b.jpg: no such image" in str(error.value) and len(error.value.findings) == 2
    result = imported(tmp_path / "set", tmp_path, skip_bad=True)
    assert "1 image left out: more.jpg; no COCO file names them" in said(result)
    content["annotations"][0]["category_id"] = 9
    (tmp_path / "set" / "c.json").write_text(json.dumps(content))
    with pytest.raises(convert.BadFiles, match=r"annotation 0 of d\.jpg has the category 9, None"):
        convert.import_dataset(tmp_path / "set" / "c.json", tmp_path / "x")


LARGER = coco_mask.encode(np.asfortranarray(label_of(0, (0, 1), (40, 60))))["counts"].decode()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([], "has no segmentation, only a box perhaps"),
        ([[1, 2, 3, 4]], "a polygon without three points"),  # pycocotools would take it for a box
        ([[1, 2, 3, 4, 5]], "a polygon without three points"),
        ([[1, 2, 3, 4, 5, 1e12]], "1000000 pixels away"),
        ([[1, 2, 3, 4, 5, "x"]], "is not a number"),
        (None, "has no segmentation: expected polygons or run lengths"),
        ({"counts": [1, 2], "size": [20, 30]}, "do not add up to 20 x 30"),
        ({"counts": [-5, 605], "size": [20, 30]}, "do not add up to 20 x 30"),
        ({"counts": [600], "size": [30, 20]}, r"for the size \[30, 20\]"),
        ({"counts": LARGER, "size": [20, 30]}, "cannot be drawn"),
    ],
)
def test_coco_shapes_that_cannot_be_drawn_are_named(tmp_path, shape, words):
    coco(tmp_path / "set" / "c.json", ["a.jpg", "b.jpg"], [(0, 1, shape), (1, 3, BOX), (1, 1, TRIANGLE)])
    for name in "ab":
        photo(tmp_path / "set" / f"{name}.jpg")
    with pytest.raises(ValueError, match=rf"c\.json: annotation 0 of a\.jpg .*{words}"):
        imported(tmp_path / "set", tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["images"][0].pop("file_name"), "number 0 of its images has no valid 'file_name'"),
        (lambda c: c["annotations"].append([]), "of its annotations has no valid 'id'"),
        (lambda c: c["categories"][1].update(name="pen"), "two categories are called 'pen'"),
        (lambda c: c["images"].append(c["images"][0]), "two of its images have one id"),
    ],
)
def test_a_coco_file_that_is_damaged_as_a_whole_is_named(tmp_path, change, words):
    content = coco(tmp_path / "set" / "c.json", ["a.jpg", "b.jpg"], [(0, 1, BOX)])
    change(content)
    (tmp_path / "set" / "c.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"c\.json: .*{words}"):
        imported(tmp_path / "set", tmp_path)


def test_without_pycocotools_the_install_line_is_named(tmp_path, monkeypatch):
    coco(tmp_path / "set" / "c.json", ["a.jpg"], [(0, 1, BOX)])
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ValueError, match=r"c\.json: .*pip install pycocotools"):
        imported(tmp_path / "set", tmp_path)


# --- images and masks in pairs ------------------------------------------------------------------------------

LAYOUTS = {
    "two folders": ("images/{}.jpg", "masks/{}.png"),
    "with a suffix": ("img/{}.jpg", "msk/{}_mask.png"),
    "with a suffix of one's own": ("img/{}.jpg", "labels/{}_by_anna.png"),
    "capitals": ("Images/{}.JPG", "Masks/{}.PNG"),
    "side by side": ("{}.jpg", "{}.png"),
    "side by side with a suffix": ("{}.jpg", "{}_mask.png"),
    "both with a suffix": ("{}_sat.jpg", "{}_mask.png"),
    "both lossless": ("{}.png", "{}_label.png"),
    "other formats": ("images/{}.tif", "masks/{}.bmp"),
    "CVAT": ("JPEGImages/{}.png", "SegmentationClass/{}.png"),
    "Cityscapes": ("leftImg8bit/town/{}_leftImg8bit.png", "gtFine/town/{}_gtFine_labelIds.png"),
    "below": ("img_dir/{}.jpg", "ann_dir/{}.png"),
}


def pair(folder, layout, names, values=(0, 1, 2)):
    """Write images and masks, and return the labels by name."""
    image, mask = layout
    labels = {}
    for seed, name in enumerate(names):
        labels[name] = label_of(seed, values)
        photo(folder / image.format(name), seed=seed)
        (folder / mask.format(name)).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels[name]).save(folder / mask.format(name))
    return labels


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs_are_found_in_every_layout(tmp_path, layout):
    names = ["p1", "p10", "p2", "IMG.2024.01 x", "q"]
    labels = pair(tmp_path / "set", LAYOUTS[layout], names)
    (tmp_path / "set" / "classes.txt").write_text("\n".join(NAMES))
    result = imported(tmp_path / "set", tmp_path)
    found = {name.removeprefix("town_"): label for name, label in read(result.folder).items()}
    assert found.keys() == labels.keys() and result.findings == []
    assert all(np.array_equal(found[name], labels[name]) for name in labels)


@pytest.mark.parametrize(
    "layout",
    [
        ("{split}/{{}}.jpg", "{split}/{{}}_mask.png"),
        ("{split}/images/{{}}.jpg", "{split}/masks/{{}}.png"),
        ("images/{split}/{{}}.jpg", "labels/{split}/{{}}.png"),
    ],
)
def test_given_folders_for_train_valid_and_test_are_kept(tmp_path, layout):
    for split, names in {"train": "ab", "valid": "bc", "test": "d"}.items():
        pair(tmp_path / "set", [part.format(split=split) for part in layout], names)
    # Roboflow puts its table beside the images
    table = tmp_path / "set" / "train" / "_classes.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text("Pixel Value, Class\n0, background\n1, cup\n2, pen\n")
    result = imported(tmp_path / "set", tmp_path, *(() if "{split}" in layout[0][:8] else (table,)))
    ids = {split: voc.VOCSegDataset(result.folder, split).ids for split in ("train", "val", "test")}
    assert ids == {"train": ["a", "train_b"], "val": ["val_b", "c"], "test": ["d"]}


def test_given_lists_are_kept_and_what_they_lack_is_chosen(tmp_path):
    pair(tmp_path / "set", LAYOUTS["two folders"], "abcdef")
    (tmp_path / "set" / "classes.txt").write_text("\n".join(NAMES))
    (tmp_path / "set" / "train.txt").write_text("images/a.jpg masks/a.png\nc\nb.jpg\n")
    (tmp_path / "set" / "val.txt").write_text("d\n")
    result = imported(tmp_path / "set", tmp_path)
    assert voc.VOCSegDataset(result.folder, "train").ids == ["a", "c", "b"]
    assert voc.VOCSegDataset(result.folder, "val").ids == ["d"]
    assert "2 on no list, and so never read: e, f" in said(result)
    (tmp_path / "set" / "val.txt").unlink()
    result = convert.import_dataset(tmp_path / "set", tmp_path / "two", val_share=0.4)
    assert sorted(read(tmp_path / "two")) == ["a", "b", "c"]


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize(
    "line", ["{}.jpg", "images/{}.jpg", "images/{0}.jpg masks/{0}.png", "{} ", "set\\{}.jpg"]
)
def test_lines_of_all_lists_may_be_paths_and_names_may_have_blanks(tmp_path, line, split):
    names = ["cat in garden", "b 2", "c", "d", "e"]
    pair(tmp_path / "set", LAYOUTS["two folders"], names)
    (tmp_path / "set" / "classes.txt").write_text("\n".join(NAMES))
    for key, ids in {"train": names[2:], split: names[:2]}.items():
        (tmp_path / "set" / f"{key}.txt").write_text("".join(f"{line.format(name)}\n" for name in ids))
    result = imported(tmp_path / "set", tmp_path, val_share=0.4)
    assert voc.VOCSegDataset(result.folder, split).ids == names[:2] and result.findings == []


def test_a_given_list_in_another_order_than_that_beside_numbered_masks_is_refused(tmp_path, capsys):
    pair(tmp_path / "set", LAYOUTS["two folders"], "abcd")
    (tmp_path / "set" / "labels.txt").write_text("\n".join(NAMES))
    given = tmp_path / "mine.txt"
    given.write_text("\n".join((NAMES[0], NAMES[2], NAMES[1])))
    words = ["data", "import", tmp_path / "set", "--classes", given, "--out"]
    assert run(*words, tmp_path / "own") == 1 and not (tmp_path / "own").exists()
    error = capsys.readouterr().err
    assert f"{given}: 'pen' is class 1, but class 2 in {tmp_path / 'set' / 'labels.txt'}" in error
    assert run(*words, tmp_path / "own", "--map", "0:0", "1:2", "2:1") == 0, "then the numbers change too"
    (tmp_path / "set" / "labels.txt").write_text("\n".join(NAMES[1:]))
    assert run(*words, tmp_path / "two") == 0, "a list without background may count from 1"
    given.write_text("\n".join((NAMES[0], "Tasse", NAMES[2])))
    (tmp_path / "set" / "labels.txt").write_text("\n".join(NAMES))
    assert run(*words, tmp_path / "three") == 0
    assert "labels.txt: class 1 'Tasse' for 'cup'; is" in capsys.readouterr().out


def test_lists_beside_the_two_folders_are_used_and_said(tmp_path, capsys):
    pair(tmp_path / "set", ("photos/{}.jpg", "drawn/{}.png"), "abcdef")
    (tmp_path / "set" / "classes.txt").write_text("\n".join(NAMES))
    (tmp_path / "set" / "train.txt").write_text("a\nc\nphotos/e.jpg\n")
    (tmp_path / "set" / "val.txt").write_text("f\nb\nd\n")
    words = [tmp_path / "set" / "photos", tmp_path / "set" / "drawn"]
    words += ["--classes", tmp_path / "set" / "classes.txt", "--out"]
    assert run("data", "masks", *words, tmp_path / "own") == 0
    lists = [voc.VOCSegDataset(tmp_path / "own", split).ids for split in ("train", "val")]
    assert lists == [["a", "c", "e"], ["f", "b", "d"]]
    assert "masks in drawn, lists beside them: train, val)" in capsys.readouterr().out
    (tmp_path / "set" / "drawn").rename(tmp_path / "drawn")  # then the lists are not beside both
    words[1] = tmp_path / "drawn"
    assert run("data", "masks", *words, tmp_path / "two") == 0
    assert len(voc.VOCSegDataset(tmp_path / "two", "train").ids) == 5
    assert "lists beside" not in capsys.readouterr().out


def test_lines_that_name_no_image_are_told(tmp_path):
    pair(tmp_path / "set", LAYOUTS["two folders"], "abcd")
    (tmp_path / "set" / "classes.txt").write_text("\n".join(NAMES))
    (tmp_path / "set" / "test.txt").write_text("d\nelsewhere1\nelsewhere2\n")
    result = imported(tmp_path / "set", tmp_path)
    assert voc.VOCSegDataset(result.folder, "test").ids == ["d"]
    assert "2 on the list test, but not among the images: elsewhere1, elsewhere2" in said(result)


def test_the_summary_mentions_the_list_test(tmp_path, capsys):
    pair(tmp_path / "set", LAYOUTS["two folders"], "abcd")
    (tmp_path / "set" / "classes.txt").write_text("\n".join(NAMES))
    (tmp_path / "set" / "test.txt").write_text("d\n")
    assert run("data", "import", tmp_path / "set", "--out", tmp_path / "own") == 0
    assert "2 images to train on and 1 to validate on, 1 on the list test\n" in capsys.readouterr().out


def test_masks_elsewhere_beside_a_folder_of_images(tmp_path, monkeypatch):
    labels = pair(tmp_path, ("export/images/{}.jpg", "drawn/{}.png"), "abc")
    found = read(imported(tmp_path / "export", tmp_path, NAMES, masks=tmp_path / "drawn").folder)
    assert all(np.array_equal(found[name], labels[name]) for name in labels)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export" / "drawn").mkdir()
    (tmp_path / "drawn").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match=r"counts from the current folder, so give .*export.drawn"):
        convert.import_dataset(tmp_path / "export", tmp_path / "two", NAMES, masks="drawn")


def test_two_folders_without_a_common_name_are_told_once(tmp_path):
    pair(tmp_path, ("export/images/deep/{}.jpg", "drawn/{}.png"), "abc")
    with pytest.raises(
        ValueError, match=r"images: no image has a mask of its name .*: deep.a\.jpg and a\.png"
    ):
        imported(tmp_path / "export", tmp_path, NAMES, masks=tmp_path / "drawn")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ("images/{}.jpg masks/task-1-annotation-1-by-1-tag-{}-0.png", "Label Studio's PNG export .*COCO"),
        ("{}.jpg task-1-annotation-1-by-1-tag-{}-0.png", "Label Studio's PNG export .*COCO"),
        (
            "images/{}.jpg masks/{}_cup.png masks/{}_pen.png",
            r"a_cup\.png and a_pen\.png: two masks of .*COCO",
        ),
        ("{}.jpg {}_cup.png {}_pen.png {}_cat.png", "two masks of one image"),
    ],
)
def test_one_mask_for_each_label_is_told_with_what_to_do(tmp_path, files, words):
    for file in files.split():
        for name in "abc":
            photo(tmp_path / "set" / file.format(name))
    with pytest.raises(ValueError, match=words):
        imported(tmp_path / "set", tmp_path, NAMES)


def test_a_folder_without_masks_is_told_before_its_classes(tmp_path):
    photo(tmp_path / "set" / "images" / "a.jpg")
    (tmp_path / "set" / "labels").mkdir()
    with pytest.raises(ValueError, match="labels: no images in this folder"):
        imported(tmp_path / "set", tmp_path)


def test_masks_elsewhere_and_a_given_suffix(tmp_path, capsys):
    labels = pair(tmp_path, ("photos/{}.jpg", "elsewhere/{}xyz.png"), "abc")
    (tmp_path / "list").write_text("\n".join(NAMES))
    words = ["--masks", tmp_path / "elsewhere", "--classes", tmp_path / "list", "--suffix", "xyz"]
    assert run("data", "import", tmp_path / "photos", "--out", tmp_path / "own", *words) == 0
    assert all(np.array_equal(label, labels[name]) for name, label in read(tmp_path / "own").items())
    printed = capsys.readouterr().out
    assert (
        "images and masks (3 pairs: images in photos, masks in elsewhere, names ending in 'xyz')" in printed
    )


def test_files_without_partner_are_faults_and_can_be_left_out(tmp_path):
    pair(tmp_path / "set", LAYOUTS["two folders"], "abcd")
    (tmp_path / "set" / "masks" / "a.png").unlink()
    (tmp_path / "set" / "images" / "b.jpg").unlink()
    with pytest.raises(convert.BadFiles) as error:
        imported(tmp_path / "set", tmp_path, NAMES)
    assert "a.jpg: no mask of this name" in str(error.value)
    assert "b.png: no image of this name" in str(error.value)
    result = imported(tmp_path / "set", tmp_path, NAMES, skip_bad=True)
    assert set(read(result.folder)) == {"c", "d"} and said(result).count("left out") == 2


@pytest.mark.parametrize("depth", ["RGB", "P"])
def test_cvats_masks_are_read_by_colour(tmp_path, depth):
    source, colours = tmp_path / "cvat", np.array([[0, 0, 0], [48, 112, 32], [9, 8, 7]], np.uint8)
    labels = pair(source, LAYOUTS["CVAT"], "abcde")
    for name, label in labels.items():
        image = Image.fromarray(colours[label])
        if depth == "P":  # in an order of its own in each file
            image = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=3)
        image.save(source / "SegmentationClass" / f"{name}.png")
    (source / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncup:48,112,32::\npen:9,8,7::\n"
    )
    lists = source / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "default.txt").write_text("".join(f"{name}\n" for name in labels))
    result = imported(source, tmp_path)
    assert result.recognised.startswith("CVAT segmentation mask 1.1 (5 pairs")
    assert result.recognised.endswith("classes from labelmap.txt")
    found = read(result.folder)
    assert all(np.array_equal(found[name], labels[name]) for name in labels) and len(found) == 5
    assert voc.folder_classes(result.folder) == ClassList(NAMES, tuple(map(tuple, colours.tolist())))


def test_an_export_without_its_images_is_named_once(tmp_path):
    pair(tmp_path / "set", LAYOUTS["CVAT"], "abcde")
    for path in (tmp_path / "set" / "JPEGImages").iterdir():
        path.unlink()
    (tmp_path / "set" / "JPEGImages").rmdir()
    with pytest.raises(ValueError, match="JPEGImages: no such folder; put the files there"):
        imported(tmp_path / "set", tmp_path, NAMES)


def test_a_table_with_values_renumbers_the_masks(tmp_path):
    labels = pair(tmp_path / "set", LAYOUTS["two folders"], "abc", (0, 100, 200, 250))
    (tmp_path / "set" / "classes.csv").write_text(
        "value,name\n200,pen\n0,background\n100,cup\n250,__ignore__\n"
    )
    found = read(imported(tmp_path / "set", tmp_path).folder)
    for name, label in labels.items():
        assert np.array_equal(found[name], np.select([label == v for v in (100, 200, 250)], [1, 2, 255]))


def test_painted_masks_need_a_table_with_colours(tmp_path):
    labels = pair(tmp_path / "set", LAYOUTS["two folders"], "ab")
    for name, label in labels.items():
        Image.fromarray(np.stack([label * 9, label * 0, label * 5], 2)).save(
            tmp_path / f"set/masks/{name}.png"
        )
    with pytest.raises(ValueError, match=r"painted in the colours \(0, 0, 0\), \(9, 0, 5\), \(18, 0, 10\)"):
        imported(
            tmp_path / "set", tmp_path, NAMES, lists={"train": ["a"], "val": ["b"]}, suffix="", skip_bad=True
        )
    table = ClassList(NAMES, ((0, 0, 0), (9, 0, 5), (18, 0, 10)))
    found = read(imported(tmp_path / "set", tmp_path, table).folder)
    assert all(np.array_equal(found[name], labels[name]) for name in labels)
    with pytest.raises(
        convert.BadFiles, match=r"colour \(18, 0, 10\) at .* is not one of the classes' colours"
    ):
        convert.import_dataset(tmp_path / "set", tmp_path / "x", ClassList(NAMES[:2], table.colours[:2]))


def test_masks_without_a_table_ask_for_one(tmp_path):
    pair(tmp_path / "set", LAYOUTS["two folders"], "ab")
    with pytest.raises(ValueError, match=r"no list of classes beside the masks; .*--classes FILE"):
        imported(tmp_path / "set", tmp_path)


def test_what_is_in_no_known_form_says_what_would_be(tmp_path):
    photo(tmp_path / "set" / "a.jpg")
    with pytest.raises(ValueError, match="nothing that is known here; expected LabelMe's or COCO's"):
        recognise(tmp_path / "set")
    (tmp_path / "export.zip").write_bytes(b"PK")
    with pytest.raises(
        ValueError, match=r"export\.zip: nothing that is known here; .* Unpack an archive first"
    ):
        recognise(tmp_path / "export.zip")
    with pytest.raises(FileNotFoundError, match="none: no such file or folder"):
        recognise(tmp_path / "none")


# --- never wrong without a word -----------------------------------------------------------------------------


def masks_of(folder, make, names="abcd"):
    """Write pairs whose masks are made by a function of the number."""
    for i, name in enumerate(names):
        photo(folder / "images" / f"{name}.jpg", seed=i)
        (folder / "masks").mkdir(exist_ok=True, parents=True)
        make(i).save(folder / "masks" / f"{name}.png")
    return folder


BINARY = {
    "greyscale": lambda i: Image.fromarray(label_of(i, (0, 255))),
    "RGB": lambda i: Image.fromarray(label_of(i, (0, 255))).convert("RGB"),
    "RGBA": lambda i: Image.fromarray(label_of(i, (0, 255))).convert("RGBA"),
    "grey and alpha": lambda i: Image.fromarray(label_of(i, (0, 255))).convert("LA"),
    "16 bits": lambda i: Image.fromarray(label_of(i, (0, 255)).astype(np.uint16)),
    "one of them all background": lambda i: Image.fromarray(label_of(i, (0, 255) if i else (0, 0))),
    "all foreground": lambda i: Image.fromarray(np.full(SIZE, 255, np.uint8)),
}


@pytest.mark.parametrize("form", BINARY)
def test_a_foreground_of_255_is_not_taken_for_void(tmp_path, form):
    source = masks_of(tmp_path / "set", BINARY[form])
    with pytest.raises(ValueError, match=r"255 means void: no .*cup can be learned; .*--map 0:0 255:1"):
        imported(source, tmp_path, ["background", "cup"])
    result = imported(source, tmp_path, ["background", "cup"], mapping={0: 0, 255: 1})
    assert all(label.max() <= 1 for label in read(result.folder).values())


def test_one_bit_is_zero_and_one(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i, (0, 255))).convert("1"))
    result = imported(source, tmp_path, ["background", "cup"])
    assert result.findings == [] and {*np.unique(read(result.folder)["a"])} == {0, 1}


def test_black_and_white_are_colours_where_the_table_says_so(tmp_path):
    source = masks_of(tmp_path / "set", BINARY["greyscale"])
    table = ClassList(("background", "cup"), ((0, 0, 0), (255, 255, 255)))
    assert {*np.unique(read(imported(source, tmp_path, table).folder)["a"])} == {0, 1}


def test_void_beside_a_class_that_never_occurs_is_told(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i, (0, 1, 255))))
    result = imported(source, tmp_path, NAMES)
    assert "never in the masks: pen, while 255, void, is; if 255 means one of them" in said(result)
    report = doctor.examine(result.folder)
    assert any("never in the masks: pen, while 255" in finding.what for finding in report.findings)
    fine = masks_of(tmp_path / "fine", lambda i: Image.fromarray(label_of(i, (0, 1, 2, 255))))
    assert convert.import_dataset(fine, tmp_path / "other", NAMES).findings == []


def test_a_listed_class_that_never_occurs_is_told(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i, (0, 1))))
    assert "never in the masks: pen; is the list of classes right?" in said(imported(source, tmp_path, NAMES))


def editors_mask(order):
    """Make a mask as an image editor saves it: red on black, with a palette in some order."""

    def make(i):
        flip = order[i % len(order)]
        image = Image.fromarray(label_of(i, (0, 1)) ^ flip)
        image.putpalette([255, 0, 0, 0, 0, 0] if flip else [0, 0, 0, 255, 0, 0])
        return image

    return make


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (
            (0, 1),
            r"the palettes give index 0 the colours \(0, 0, 0\) in .* and \(255, 0, 0\) in .*; the stored",
        ),
        ((1,), "the palettes put black on index 1, and another colour on 0, the background: "),
    ],
)
def test_palettes_that_contradict_the_numbers_stop_the_import(tmp_path, order, words):
    source = masks_of(tmp_path / "set", editors_mask(order))
    with pytest.raises(ValueError, match=words):
        imported(source, tmp_path, ["background", "cup"])
    table = ClassList(("background", "cup"), ((0, 0, 0), (255, 0, 0)))
    found = read(imported(source, tmp_path, table).folder)
    assert all(np.array_equal(found[name], label_of(i, (0, 1))) for i, name in enumerate("abcd"))
    # with a mapping the numbers decide
    result = convert.import_dataset(source, tmp_path / "x", ["background", "cup"], mapping={0: 0, 1: 1})
    assert np.array_equal(read(result.folder)["a"], label_of(0, (0, 1)) ^ order[0])


def test_palettes_that_agree_are_no_matter(tmp_path):
    source = masks_of(tmp_path / "set", editors_mask((0,)))
    assert imported(source, tmp_path, ["background", "cup"]).findings == []


def laid_out(folder, make):
    """Make a folder in VOC layout from masks that are made by a function of the number."""
    masks_of(folder, make)
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "masks").rename(folder / "SegmentationClass")
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\nd\n")
    (folder / "classes.txt").write_text("background\ncup\n")
    return folder


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (BINARY["greyscale"], "the masks hold 0 and 255, and 255 means void: no cup can be learned"),
        (editors_mask((0, 1)), "the palettes give index 0 the colours"),
        (editors_mask((1,)), "the palettes put black on index 1"),
    ],
)
def test_the_doctor_says_the_same_of_a_finished_folder(tmp_path, capsys, make, words):
    folder = laid_out(tmp_path / "set", make)
    assert any(words in fault.what for fault in doctor.examine(folder).faults)
    assert run("doctor", folder) == 1
    assert "no fault found" not in capsys.readouterr().out


def test_unused_bits_are_told_by_importer_and_doctor(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i)))
    for i, name in enumerate("abcd"):
        (source / "images" / f"{name}.jpg").unlink()
        values = np.random.default_rng(i).integers(0, 4096, SIZE).astype(np.uint16)
        Image.fromarray(values).save(source / "images" / f"{name}.png")
    result = imported(source, tmp_path, NAMES)
    words = (
        "a.png, b.png, c.png, d.png: 12 bits used of 16, so that it looks up to 16 times too dark; multiply"
    )
    assert words in said(result)
    assert any("12 bits used of 16" in finding.what for finding in doctor.examine(result.folder).findings)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((1, 2, 3), r"the masks hold 1, 2, 3; .*--map 1:0 2:1 3:2"),
        (
            (0, 1, 2, 3),
            r"the masks hold 0, 1, 2, 3: is a class missing from the list\? Add it, or say with --map",
        ),
        ((1, 2, 3, 4), r"--map 1:255 2:0 3:1 4:2"),
        ((0, 128, 255), r"--map 0:0 128:1 255:2"),
        (range(0, 250, 9), "28 values for 3 classes: were they resized smoothly, or saved as JPEG"),
    ],
)
def test_values_that_are_no_classes_say_what_may_be_meant(tmp_path, values, words):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i, tuple(values))), "ab")
    with pytest.raises(convert.BadFiles, match=words):
        imported(source, tmp_path, NAMES)


def test_a_mask_with_holes_or_a_jpeg_is_refused(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i)), "abc")
    rgba = np.dstack([label_of(0)] * 3 + [np.where(label_of(0) > 0, 255, 0)]).astype(np.uint8)
    Image.fromarray(rgba).save(source / "masks" / "a.png")
    photo(source / "masks" / "b.jpg")
    (source / "masks" / "b.png").unlink()
    with pytest.raises(convert.BadFiles) as error:
        imported(source, tmp_path, NAMES)
    assert "transparent at (row, column) (0, 0)" in str(error.value)
    assert "b.jpg: a JPEG, which changes values" in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat\ncup\ndog\n", "class 0 would be 'cat', .*: is it missing, or called void"),
        ("cat\ncup\nbackground\n", "class 0 would be 'cat', .*: but background is class 2"),
        ("void\ncat\ncup\n", "class 0 would be 'cat'"),
        ("id,name\n0,cat\n1,cup\n2,dog\n", "class 0 would be 'cat'"),
        ("cat 1 2 3\ncup 4 5 6\nunknown 0 0 0\n", "class 0 would be 'cat'"),
    ],
)
def test_a_list_without_background_must_be_confirmed(tmp_path, text, words):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i)))
    (source / "classes.txt").write_text(text)
    with pytest.raises(
        ValueError, match=rf"classes\.txt: {words}.*confirm the list with --classes .*s\.txt$"
    ):
        imported(source, tmp_path)


def test_a_confirmed_list_without_background_is_taken_with_a_warning(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i)))
    (source / "classes.txt").write_text("cat\ncup\ndog\n")
    result = imported(source, tmp_path, source / "classes.txt")
    assert "class 0, the background, is 'cat'; is that right? If not, put background first" in said(result)
    mapped = convert.import_dataset(source, tmp_path / "two", mapping={0: 0, 1: 1, 2: 2})
    assert "class 0, the background, is 'cat'" in said(mapped)


def test_labelmes_list_without_background_must_be_confirmed(tmp_path):
    source = labelled(tmp_path / "photos")
    (source / "labels.txt").write_text("cup\npen\n")
    with pytest.raises(ValueError, match=r"labels\.txt: class 0 would be 'cup'"):
        imported(source, tmp_path)


@pytest.mark.parametrize("first", ["background", "_background_", "BG", "Unlabelled", "other", "0_background"])
def test_these_names_mean_background(tmp_path, first):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i)))
    (source / "classes.txt").write_text(f"{first}\ncup\npen\n")
    assert imported(source, tmp_path).findings == []


def test_values_above_a_list_without_background_are_not_mapped(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i, (0, 1, 3) if i else (0, 3))))
    with pytest.raises(convert.BadFiles, match="class 0 is 'cat': is background missing") as error:
        imported(source, tmp_path, ["cat", "cup", "dog"])
    assert "--map" not in str(error.value)


def test_one_advice_is_given_for_all_masks(tmp_path):
    values = [(0, 85), (0, 170), (0, 85, 255), (0, 255)]
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i, values[i])))
    classes = ["background", "cat", "cup", "dog"]
    with pytest.raises(convert.BadFiles, match="--map 0:0 85:1 170:2 255:3") as error:
        imported(source, tmp_path, classes)
    assert str(error.value).count("--map") == 1
    mapping = {0: 0, 85: 1, 170: 2, 255: 3}
    found = read(imported(source, tmp_path, classes, mapping=mapping).folder)
    for i, name in enumerate("abcd"):
        assert np.array_equal(np.array([0, 85, 170, 255])[found[name]], label_of(i, values[i]))


PAINT = {"cup": (9, 0, 5), "background": (0, 0, 0), "Void": (1, 2, 3), "pen": (7, 7, 7)}


@pytest.mark.parametrize("form", ["RGB", "P", "L"])
def test_a_colour_table_may_have_void_and_the_background_anywhere(tmp_path, form):
    paint = np.array([*PAINT.values()], np.uint8)  # stored in the order of the table

    def make(i):
        label = label_of(i, range(4))
        if form == "P":  # each with an order of its own
            return Image.fromarray(paint[label]).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
        return Image.fromarray(paint[label] if form == "RGB" else label)

    source = masks_of(tmp_path / "set", make)
    rows = "".join(f"{name},{r},{g},{b}\n" for name, (r, g, b) in PAINT.items())
    (source / "class_dict.csv").write_text(f"name,r,g,b\n{rows}")
    result = imported(source, tmp_path)
    assert "classes from class_dict.csv, of which background becomes class 0" in result.recognised
    assert voc.folder_classes(result.folder).names == NAMES
    for i, name in enumerate("abcd"):
        want = np.array([1, 0, 255, 2])[label_of(i, range(4))]
        assert np.array_equal(read(result.folder)[name], want)


def test_void_in_a_list_of_names_counts_by_its_place(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i)))
    (source / "classes.txt").write_text("background\nVoid\ncup\n")
    found = read(imported(source, tmp_path).folder)
    assert np.array_equal(found["a"], np.array([0, 255, 1])[label_of(0)])


def test_labels_that_differ_in_capitals_are_told(tmp_path):
    shapes = [SQUARE, SQUARE | {"label": "Cup"}, SQUARE | {"label": "pen"}]
    result = imported(labelled(tmp_path / "photos", shapes=shapes), tmp_path)
    assert "the classes 'Cup' and 'cup' differ only in capitals or spaces; if they are one" in said(result)


@pytest.mark.parametrize(
    ("orientation", "size", "doubt"), [(3, SIZE, 1), (2, SIZE, 1), (6, (20, 20), 1), (1, SIZE, 0)]
)
def test_a_turn_that_sizes_do_not_show_is_told(tmp_path, orientation, size, doubt):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i, size=size)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i, name in enumerate("abcd"):
        photo(source / "images" / f"{name}.jpg", size, seed=i, exif=exif)
    result = imported(source, tmp_path, NAMES)
    words = "a.jpg, b.jpg, c.jpg, d.jpg: turned or mirrored by EXIF, and the size does not tell"
    assert said(result).count(words) == doubt == len(result.findings)


# --- images for predict -------------------------------------------------------------------------------------


def test_predict_finds_what_pil_reads_a_pattern_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("a.jpg", "b.TIFF", "c.webp", "d.gif", "e.ppm", "f.jp2", "notes.txt", "film.mpg", "p.pdf"):
        (tmp_path / name).touch()
    everything = [path.name for path in predict_command.find_images(["~"])]
    assert everything == ["a.jpg", "b.TIFF", "c.webp", "d.gif", "e.ppm", "f.jp2"]
    assert [p.name for p in predict_command.find_images([str(tmp_path / "[a-c].*")])] == everything[:3]
    (tmp_path / "[1].jpg").touch()
    assert predict_command.find_images([str(tmp_path / "[1].jpg")]) == [tmp_path / "[1].jpg"]
    with pytest.raises(FileNotFoundError, match=r"\*\.png: no such file"):
        predict_command.find_images([str(tmp_path / "*.png")])


def test_pointers_in_errors_lead_somewhere(tmp_path, capsys):
    root = convert.Path(__file__).resolve().parent.parent
    assert run("evaluate", "--checkpoint", "photos", "--data", tmp_path / "none") == 1
    (pointer,) = [word.strip(".,") for word in capsys.readouterr().err.split() if ".md" in word]
    assert "data import" in (root / pointer).read_text(encoding="utf-8")


def test_a_written_list_is_read_back(tmp_path):
    table = ClassList(("_background_", "cup"))
    assert classes.read_classes(classes.write_classes(tmp_path / "c.txt", table)) == table


def test_an_image_in_memory_may_be_of_another_format(tmp_path):
    file = io.BytesIO()
    Image.fromarray(label_of(0)).save(file, format="BMP")
    data = base64.b64encode(file.getvalue()).decode()
    for name in "ab":
        labelme(tmp_path / "set" / f"{name}.json", SQUARE, imageData=data)
    result = imported(tmp_path / "set", tmp_path)
    assert (voc.read_image(result.folder / "JPEGImages" / "a.png")[0].numpy() == label_of(0)).all()


def test_a_coco_file_that_lacks_a_part_is_named(tmp_path):
    content = coco(tmp_path / "set" / "c.json", ["a.jpg"], [(0, 1, BOX)])
    del content["images"]
    (tmp_path / "set" / "c.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"c\.json: COCO's file, but without a list of images"):
        recognise(tmp_path / "set")


def test_a_labelme_file_without_a_path_means_the_image_of_its_name(tmp_path):
    source = labelled(tmp_path / "photos", "ab")
    for name in "ab":
        labelme(source / f"{name}.json", SQUARE, imagePath=None)
    assert len(read(imported(source, tmp_path).folder)) == 2


def test_a_background_of_255_is_told_too(tmp_path):
    source = masks_of(tmp_path / "set", lambda i: Image.fromarray(label_of(i, (1, 255))))
    with pytest.raises(ValueError, match=r"1 and 255, .* if 255 is the background, .*--map 1:1 255:0"):
        imported(source, tmp_path, ["background", "cup"])


def test_coco_images_of_one_name_in_two_folders_keep_both(tmp_path):
    coco(tmp_path / "set" / "c.json", ["day1/a.jpg", "day2/a.jpg", "b.jpg"], [(0, 1, BOX), (1, 3, BOX)])
    for seed, name in enumerate(("day1/a", "day2/a", "b")):
        photo(tmp_path / "set" / f"{name}.jpg", seed=seed)
    assert set(read(imported(tmp_path / "set", tmp_path).folder)) == {"day1_a", "day2_a", "b"}
