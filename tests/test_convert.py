"""Converters agree with naive loops, and with what was put into the files."""

import base64
import io
import json
import math
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from d2lseg import classes, cli, voc
from d2lseg.classes import ClassList
from d2lseg.datasets import convert, writing

OWN = ClassList(("background", "cup", "pen"))


def polygon(*points, label="cup", **more):
    return {"label": label, "points": [list(p) for p in points], "shape_type": "polygon", **more}


def square(left, top, right, bottom, label="cup", **more):
    """Cover the pixels from (left, top) to (right, bottom) inclusive."""
    return {"label": label, "points": [[left, top], [right, bottom]], "shape_type": "rectangle", **more}


# --- which pixels -------------------------------------------------------------------------------------------


def inside(x, y, points):
    """Even-odd rule: count the edges that a ray to the right crosses."""
    crossed = False
    for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            crossed = not crossed
    return crossed


def distance(x, y, points):
    """How far a place is from the outline."""

    def to_edge(a, b):
        (x1, y1), (dx, dy) = a, (b[0] - a[0], b[1] - a[1])
        length = dx * dx + dy * dy
        t = 0 if length == 0 else min(1, max(0, ((x - x1) * dx + (y - y1) * dy) / length))
        return math.hypot(x - x1 - t * dx, y - y1 - t * dy)

    return min(to_edge(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True))


PILLOW = tuple(int(part) for part in PIL.__version__.split(".")[:2])
coordinate = st.floats(-4, 24, allow_nan=False)
corners = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=7)


@pytest.mark.skipif(
    PILLOW < (11, 3), reason="older versions of Pillow draw stray pixels beside some polygons"
)
@settings(deadline=None)
@given(corners)
def test_away_from_its_outline_a_polygon_is_what_a_naive_loop_finds(points):
    height, width = 18, 20
    mask = convert.shape_mask(polygon(*points), height, width)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            if distance(x, y, points) >= 1.5:
                assert mask[row, column] == inside(x, y, points), (row, column)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 17)), min_size=3, max_size=6))
def test_the_pixels_of_the_corners_belong_to_a_polygon(points):
    mask = convert.shape_mask(polygon(*[(x + 0.3, y + 0.9) for x, y in points]), 18, 20)
    assert all(mask[y, x] for x, y in points)


def test_a_polygon_may_reach_outside_the_image():
    mask = convert.shape_mask(polygon((-5.5, 2.5), (30, 2.5), (30, 4.2), (-5.5, 4.2)), 8, 10)
    want = np.zeros((8, 10), bool)
    want[2:5] = True
    assert np.array_equal(mask, want)
    assert not convert.shape_mask(polygon((-9, -9), (-3, -9), (-3, -2)), 8, 10).any()


@pytest.mark.parametrize("points", [((2.9, 3.1), (6.2, 4.7)), ((6.2, 4.7), (2.9, 3.1)), ((2, 4), (6, 3))])
def test_a_rectangle_has_the_pixels_from_corner_to_corner(points):
    want = np.zeros((8, 10), bool)
    want[3:5, 2:7] = True
    shape = {"shape_type": "rectangle", "points": points}
    assert np.array_equal(convert.shape_mask(shape, 8, 10), want)


def test_a_circle_has_the_pixels_whose_centres_lie_in_it():
    shape = {"shape_type": "circle", "points": [[5.2, 4.1], [8.2, 4.1]]}
    mask = convert.shape_mask(shape, 8, 10)
    for row in range(8):
        for column in range(10):
            assert mask[row, column] == (math.hypot(column + 0.5 - 5.2, row + 0.5 - 4.1) <= 3)


def encoded(array):
    file = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_mask_is_pasted_into_its_box():
    """LabelMe's own are of zeros and ones."""
    part = np.array([[1, 0, 1], [0, 1, 1]])
    shape = {"shape_type": "mask", "points": [[4.0, 5.0], [6.0, 6.0]], "mask": encoded(part)}
    want = np.zeros((8, 10), bool)
    want[5:7, 4:7] = part
    assert np.array_equal(convert.shape_mask(shape, 8, 10), want)


def test_an_oriented_rectangle_is_the_polygon_of_its_corners():
    shape = polygon((1, 3), (4, 0), (7, 3), (4, 6))
    turned = shape | {"shape_type": "oriented_rectangle"}
    assert np.array_equal(convert.shape_mask(turned, 8, 10), convert.shape_mask(shape, 8, 10))


def test_a_shape_without_a_kind_is_a_polygon():
    shape = polygon((1, 1), (5, 1), (5, 5))
    assert np.array_equal(
        convert.shape_mask(shape | {"shape_type": None}, 8, 8), convert.shape_mask(shape, 8, 8)
    )


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (polygon((1, 1), (2, 2)), "a polygon with 2 points; expected 3 or more"),
        (square(1, 1, 2, 2) | {"points": [[1, 1]]}, "a rectangle with 1 points; expected 2"),
        (square(1, 1, 2, 2) | {"shape_type": "cube"}, "shape_type 'cube'; expected polygon, oriented"),
        (square(1, 1, 2, 2) | {"shape_type": "line"}, "a line has no area; .* --line-width"),
        (square(1, 1, 2, 2) | {"shape_type": ["x"]}, "shape_type .*'x'.*; expected polygon"),
        (
            polygon((1, 1), (2, 2), (3, 1)) | {"shape_type": "rectangle"},
            "rectangle with 3 points; expected 2 or 4",
        ),
        (
            polygon((1, 1), (2, 2), (3, 1)) | {"shape_type": "oriented_rectangle"},
            "an? oriented_rectangle with 3 points; expected 4$",
        ),
        (polygon((1, 1), (2, 2), (math.nan, 3)), "is not a number"),
        (polygon((1, 1), (2, 2), (1e9, 3)), "1000000 pixels away"),
        ({"label": "cup"}, "without a list of points"),
        (polygon((1, 1), (2, 2)) | {"points": [[1, 2, 3]]}, "without a list of points"),
        (polygon((1, 1), (2, 2)) | {"points": None}, "without a list of points"),
        (square(1, 1, 2, 2) | {"shape_type": "mask"}, "a mask without an encoded image"),
        (square(1, 1, 2, 2) | {"shape_type": "mask", "mask": "AAAA"}, "a mask without an encoded image"),
    ],
)
def test_what_cannot_be_drawn_is_refused(shape, words):
    with pytest.raises(ValueError, match=words):
        convert.shape_mask(shape, 8, 10)


# --- which class --------------------------------------------------------------------------------------------


def label_of(*shapes):
    return convert.shapes_label(shapes, 6, 6, OWN.names)


def test_later_shapes_lie_over_earlier_ones():
    label = label_of(square(0, 0, 3, 3), square(2, 2, 5, 5, "pen"), square(3, 3, 3, 3, "__ignore__"))
    want = np.zeros((6, 6), np.uint8)
    want[:4, :4], want[2:, 2:], want[3, 3] = 1, 2, 255
    assert np.array_equal(label, want)


@pytest.mark.parametrize("name", ["__ignore__", "void"])
def test_a_region_to_leave_out_is_void(name):
    assert (label_of(square(0, 0, 5, 5, name)) == 255).all()


def test_a_class_may_be_called_void():
    label = convert.shapes_label([square(0, 0, 5, 5, "void")], 6, 6, ("background", "void"))
    assert (label == 1).all()


@pytest.mark.parametrize("name", ["background", "_background_"])
def test_a_hole_without_a_group_becomes_background(name):
    label = label_of(square(0, 0, 5, 5, "pen"), square(0, 0, 4, 4), square(1, 1, 2, 2, name))
    want = np.full((6, 6), 2)
    want[:5, :5], want[1:3, 1:3] = 1, 0
    assert np.array_equal(label, want)


@pytest.mark.parametrize("hole_first", [False, True])
def test_through_a_hole_in_a_group_one_sees_what_lies_below(hole_first):
    cup, hole = square(0, 0, 4, 4, group_id=7), square(1, 1, 2, 2, "background", group_id=7)
    label = label_of(square(0, 0, 5, 5, "pen", group_id=1), *((hole, cup) if hole_first else (cup, hole)))
    want = np.full((6, 6), 2)
    want[:5, :5], want[1:3, 1:3] = 1, 2
    assert np.array_equal(label, want)


def test_a_group_alone_changes_nothing():
    shapes = [square(0, 0, 2, 2), square(3, 3, 5, 5)]
    assert np.array_equal(label_of(*shapes), label_of(*(s | {"group_id": 3} for s in shapes)))


def test_an_unknown_label_is_named_with_its_number():
    with pytest.raises(ValueError, match=r"shape 2 .*'mug'.* background, cup, pen"):
        label_of(square(0, 0, 1, 1), square(0, 0, 1, 1, "mug"))
    with pytest.raises(ValueError, match=r"shape 1, 'pen'.* 0 points"):
        label_of(polygon(label="pen"))


# --- LabelMe files ------------------------------------------------------------------------------------------


def photo(path, height=6, width=8, seed=0, **options):
    """Write an image of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def labelled(folder, name, shapes, suffix=".jpg", **changes):
    """Write an image and its LabelMe file."""
    photo(folder / f"{name}{suffix}", seed=len(name))
    content = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": f"{name}{suffix}"}
    content |= {"imageData": None, "imageHeight": 6, "imageWidth": 8} | changes
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def make_labelme(folder):
    labelled(folder, "a", [square(0, 0, 3, 3)])
    labelled(folder, "b b", [square(0, 0, 3, 3, "pen"), square(1, 1, 1, 1, "void")], ".png")
    labelled(folder, "c", [])
    return folder


def test_labelme_files_become_a_folder_that_is_read_as_any_other(tmp_path):
    source = make_labelme(tmp_path / "photos")
    out = convert.from_labelme(source, tmp_path / "new" / "own", val_share=0.4)
    both = [voc.VOCSegDataset(out, part) for part in ("train", "val")]
    assert sorted(name for data in both for name in data.ids) == ["a", "b b", "c"]
    assert both[0].class_list == OWN
    for data in both:
        for name, (image, label) in zip(data.ids, data, strict=True):
            path = next(p for p in source.iterdir() if p.stem == name and p.suffix != ".json")
            assert torch.equal(image, voc.read_image(path))
            assert data.paths(name)[0].read_bytes() == path.read_bytes()  # copied, not encoded anew
            shapes = json.loads((source / f"{name}.json").read_text())["shapes"]
            assert np.array_equal(label, convert.shapes_label(shapes, 6, 8, OWN.names))
    assert sorted(p.name for p in out.parent.iterdir()) == ["own"]


def test_the_names_are_those_that_occur_or_those_given(tmp_path):
    source = make_labelme(tmp_path / "photos")
    assert convert.labelme_names(sorted(source.glob("*.json"))) == ("background", "cup", "pen")
    table = ClassList(("ground", "pen", "cup"), ((9, 9, 9), (1, 2, 3), (4, 5, 6)))
    out = convert.from_labelme(source, tmp_path / "own", table)
    assert voc.folder_classes(out) == table
    label = voc.read_mask(out / "SegmentationClass" / "a.png", table)
    assert label.unique().tolist() == [0, 2]


def test_an_image_may_be_inside_the_file(tmp_path):
    path = labelled(tmp_path, "a", [square(0, 0, 3, 3)])
    data = (tmp_path / "a.jpg").read_bytes()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"imageData": base64.b64encode(data).decode()}))
    (tmp_path / "a.jpg").unlink()
    pair = convert.read_labelme(path, OWN.names)
    assert (pair.image, pair.suffix) == (data, ".jpg")
    labelled(tmp_path, "b", [])
    out = convert.from_labelme(tmp_path, tmp_path / "own", OWN)
    assert (out / "JPEGImages" / "a.jpg").read_bytes() == data


def test_paths_of_windows_and_endings_in_capitals_are_understood(tmp_path):
    photo(tmp_path / "raw" / "A.JPG")
    path = labelled(tmp_path / "json", "x", [], imagePath="..\\raw\\A.JPG")
    pair = convert.read_labelme(path, OWN.names)
    assert pair.image.name == "A.JPG" and (pair.name, pair.suffix) == ("x", ".jpg")


def test_a_photo_that_is_to_be_turned_has_its_upright_size(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    path = labelled(tmp_path, "a", [], imageHeight=8, imageWidth=6)
    photo(tmp_path / "a.jpg", exif=turned.tobytes())
    label = convert.read_labelme(path, OWN.names).label
    assert label.shape == (8, 6) == tuple(voc.read_image(tmp_path / "a.jpg").shape[1:])


BAD = {
    "no JSON": (lambda p: p.write_text("{"), ValueError, "a.json: not a JSON file"),
    "no text": (lambda p: p.write_bytes(b"\xff"), ValueError, "a.json: .*UTF-8"),
    "a list": (lambda p: p.write_text("[]"), ValueError, "a.json: no list of shapes"),
    "other shapes": (lambda p: p.write_text('{"shapes": [1]}'), ValueError, "a.json: no list of shapes"),
    "no label": (
        lambda p: p.write_text('{"shapes": [{"points": []}]}'),
        ValueError,
        "a.json: shape 1 .*None",
    ),
    "label": (
        lambda p: labelled(p.parent, "a", [square(0, 0, 1, 1, "mug")]),
        ValueError,
        "a.json: shape 1 .*'mug'",
    ),
    "size": (
        lambda p: labelled(p.parent, "a", [], imageHeight=7),
        ValueError,
        "a.json: .*7 x 8.* 6 x 8",
    ),
    "image gone": (lambda p: (p.parent / "a.jpg").unlink(), FileNotFoundError, "a.jpg: no such image"),
    "image broken": (
        lambda p: (p.parent / "a.jpg").write_text("x"),
        ValueError,
        "a.jpg: cannot be read as an image",
    ),
    "image damaged": (
        lambda p: (p.parent / "a.jpg").write_bytes((p.parent / "a.jpg").read_bytes()[:-90]),
        ValueError,
        "a.jpg: cannot be read as an image",
    ),
    "no base64": (
        lambda p: labelled(p.parent, "a", [], imagePath="b.jpg", imageData="%%"),
        ValueError,
        "a.json: .*imageData.*base64",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_and_nothing_is_left(tmp_path, case):
    change, kind, words = BAD[case]
    source = tmp_path / "photos"
    labelled(source, "a", [])
    labelled(source, "c", [])
    change(source / "a.json")
    with pytest.raises(kind, match=words):
        convert.from_labelme(source, tmp_path / "own", OWN)
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_a_folder_without_files_or_without_labels_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \*\.json in this folder"):
        convert.from_labelme(tmp_path, tmp_path / "own")
    labelled(tmp_path, "a", [square(0, 0, 1, 1, "void")])
    with pytest.raises(ValueError, match="1 classes; expected 2"):
        convert.from_labelme(tmp_path, tmp_path / "own")


# --- plain masks --------------------------------------------------------------------------------------------


def save_mask(path, values, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(values)
    if mode == "P":
        image = Image.fromarray(array.astype(np.uint8))
        image.putpalette([7] * 768)
    else:
        image = Image.fromarray(
            array.astype({"L": np.uint8, "1": bool, "I;16": np.uint16, "I": np.int32}[mode])
        )
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "1"])
def test_a_mask_of_any_depth_is_read_by_its_values(tmp_path, mode):
    values = np.array([[0, 1, 1], [1, 0, 0]])
    path = save_mask(tmp_path / "m.png", values, mode)
    assert np.array_equal(convert.read_index_mask(path, 2), values)
    assert np.array_equal(convert.read_index_mask(path, 3, {0: 2, 1: 255}), np.where(values == 0, 2, 255))


def test_a_mask_of_32_bits_is_read(tmp_path):
    path = save_mask(tmp_path / "m.tif", [[70000, 1]], "I")
    assert convert.read_index_mask(path, 2, {70000: 1, 1: 0}).tolist() == [[1, 0]]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.dictionaries(st.integers(0, 254), st.integers(0, 4), min_size=1))
def test_a_mapping_is_what_a_naive_loop_does(tmp_path_factory, seed, mapping):
    values = np.random.default_rng(seed).choice([*mapping, 255], (5, 7))
    path = save_mask(tmp_path_factory.mktemp("masks") / "m.png", values)
    got = convert.read_index_mask(path, 5, mapping)
    for old, new in zip(values.flat, got.flat, strict=True):
        assert new == ({255: 255} | mapping)[int(old)]


@pytest.mark.parametrize(
    ("values", "mapping", "words"),
    [
        ([[0, 1], [2, 3]], None, r"m\.png: value 3 .*\(1, 1\).*0\.\.2"),
        ([[0, 9]], {0: 0}, r"m\.png: value 9 .*mapping"),
        ([[0, 1]], {0: 0, 1: 3}, r"mapping .*1 into 3.*0\.\.2 or 255"),
        ([[0, 1]], {0: -1, 1: 1}, "mapping .*0 into -1"),
    ],
)
def test_a_value_of_no_class_is_named(tmp_path, values, mapping, words):
    with pytest.raises(ValueError, match=words):
        convert.read_index_mask(save_mask(tmp_path / "m.png", values), 3, mapping)


def test_a_mask_in_colours_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"m\.png: its PIL mode is 'RGB'"):
        convert.read_index_mask(photo(tmp_path / "m.png"), 3)
    (tmp_path / "m.png").write_text("x")
    with pytest.raises(ValueError, match=r"m\.png: cannot be read as a mask"):
        convert.read_index_mask(tmp_path / "m.png", 3)


def make_masks(folder, names=("a", "b", "c"), size=(6, 8)):
    values = {}
    for i, name in enumerate(names):
        photo(folder / "images" / f"{name}.jpg", seed=i)
        values[name] = np.random.default_rng(i).choice([0, 7, 9, 255], size)
        save_mask(folder / "masks" / f"{name}.png", values[name])
    return folder / "images", folder / "masks", values


def test_masks_become_a_folder_that_is_read_as_any_other(tmp_path):
    images, masks, values = make_masks(tmp_path)
    (images / "notes.txt").write_text("not an image")
    out = convert.from_masks(images, masks, tmp_path / "own", OWN, {0: 0, 7: 1, 9: 2})
    data = voc.VOCSegDataset(out, "trainval")
    assert data.classes == OWN.names and sorted(data.ids) == ["a", "b", "c"]
    for name, (_, label) in zip(data.ids, data, strict=True):
        want = np.select([values[name] == v for v in (7, 9, 255)], [1, 2, 255])
        assert np.array_equal(label, want)
        mask = Image.open(data.paths(name)[1])
        assert mask.mode == "P" and tuple(mask.getpalette()[3:6]) == classes.voc_colormap(2)[1]
        assert data.paths(name)[0].read_bytes() == (images / f"{name}.jpg").read_bytes()


def test_255_classes_go_through(tmp_path):
    table = ClassList(tuple(f"c{i}" for i in range(255)))
    for name in "ab":
        photo(tmp_path / "images" / f"{name}.png", 16, 16)
        save_mask(tmp_path / "masks" / f"{name}.png", np.arange(256).reshape(16, 16))
    out = convert.from_masks(tmp_path / "images", tmp_path / "masks", tmp_path / "own", table)
    _, label = voc.VOCSegDataset(out, "val")[0]
    assert label.flatten().tolist() == list(range(256))
    assert voc.folder_classes(out) == table


FAULTS = {
    "mask gone": (lambda i, m: (m / "b.png").unlink(), ValueError, r"b\.jpg: no mask of this name"),
    "image gone": (lambda i, m: (i / "b.jpg").unlink(), ValueError, r"b\.png: no image of this"),
    "two images": (lambda i, m: photo(i / "b.png"), ValueError, r"b\.png: b\.jpg has the same name"),
    "other size": (
        lambda i, m: photo(i / "b.jpg", 5, 8),
        ValueError,
        r"b\.png: 6 x 8.*b\.jpg has 5 x 8",
    ),
    "value": (lambda i, m: save_mask(m / "b.png", np.full((6, 8), 3)), ValueError, r"b\.png: value 3 at"),
    "image broken": (lambda i, m: (i / "b.jpg").write_text("x"), ValueError, r"b\.jpg: cannot be read"),
    "blank": (
        lambda i, m: [p.rename(p.with_stem("b ")) for p in (i / "b.jpg", m / "b.png")],
        ValueError,
        "'b ' .*blank",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_bad_pair_is_named_and_nothing_is_left(tmp_path, case):
    change, kind, words = FAULTS[case]
    images, masks, _ = make_masks(tmp_path)
    change(images, masks)
    with pytest.raises(kind, match=words):
        convert.from_masks(images, masks, tmp_path / "own", OWN, {0: 0, 7: 1, 9: 2})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "masks"]


def test_folders_that_are_not_there_or_empty_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="none: no such file or folder"):
        convert.from_masks(tmp_path / "none", tmp_path, tmp_path / "own", OWN)
    with pytest.raises(ValueError, match=r"empty: no images in this folder|no image can be used"):
        convert.from_masks(tmp_path / "empty", make_masks(tmp_path)[1], tmp_path / "own", OWN, skip_bad=True)


# --- lists and places ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=2, max_size=30, unique=True),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
    st.booleans(),
)
def test_a_split_keeps_each_image_once_and_each_source_together(names, share, seed, grouped):
    source = (lambda name: name[0]) if grouped else None
    groups = {name[0] for name in names} if grouped else set(names)
    if len(groups) < 2:
        with pytest.raises(ValueError, match="1 source; expected 2 or more"):
            convert.split(names, share, seed, source)
        return
    lists = convert.split(names, share, seed, source)
    assert lists["train"] and lists["val"] and sorted(lists["train"] + lists["val"]) == sorted(names)
    assert lists == convert.split(names[::-1], share, seed, source)
    if grouped:
        assert not {name[0] for name in lists["train"]} & {name[0] for name in lists["val"]}
    else:
        assert len(lists["val"]) == min(max(1, round(share * len(names))), len(names) - 1)


def test_another_seed_gives_another_split():
    names = [f"{i:02d}" for i in range(40)]
    assert len({tuple(convert.split(names, seed=seed)["val"]) for seed in range(5)}) == 5


@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(ValueError, match="val_share is"):
        convert.split(["a", "b"], share)


def test_one_image_is_too_few():
    with pytest.raises(ValueError, match="1 image; expected 2 or more"):
        convert.split(["a"])


def test_names_must_be_different():
    with pytest.raises(ValueError, match="'a' occurs twice"):
        convert.split(["a", "b", "a"])


def test_given_lists_are_written_as_they_are(tmp_path):
    images, masks, _ = make_masks(tmp_path)
    lists = {"train": ["c", "a"], "val": ["b"], "night": ["c"]}
    mapping = {0: 0, 7: 1, 9: 2}
    out = convert.from_masks(images, masks, tmp_path / "own", OWN, mapping, lists=lists)
    assert {key: voc.VOCSegDataset(out, key).ids for key in lists} == lists


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"train": ["a"]}, "list 'val' is missing or empty"),
        ({"train": [], "val": ["a"]}, "list 'train' is missing or empty"),
        ({"train": ["a", "d"], "val": ["b"]}, "'train' names 'd'"),
        ({"train": ["a", "b"], "val": ["b"]}, "'b' is in both lists"),
    ],
)
def test_bad_lists_are_refused_and_nothing_is_left(tmp_path, lists, words):
    images, masks, _ = make_masks(tmp_path)
    with pytest.raises(ValueError, match=words):
        convert.from_masks(images, masks, tmp_path / "own", OWN, {0: 0, 7: 1, 9: 2}, lists=lists)
    assert not [p for p in tmp_path.iterdir() if p.name not in ("images", "masks")]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_is_overwritten(tmp_path, kind):
    out = tmp_path / "own"
    out.mkdir() if kind == "folder" else out.write_text("mine")
    with pytest.raises(FileExistsError, match="own: already exists"):
        convert.from_labelme(make_labelme(tmp_path / "photos"), out)
    assert list(out.iterdir()) == [] if kind == "folder" else out.read_text() == "mine"


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    out, write = tmp_path / "own", writing.write_mask

    def somebody_else(*arguments):
        out.mkdir(exist_ok=True)
        write(*arguments)

    monkeypatch.setattr(writing, "write_mask", somebody_else)
    with pytest.raises(FileExistsError, match="own: already exists"):
        convert.from_labelme(make_labelme(tmp_path / "photos"), out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["own", "photos"] and not list(out.iterdir())


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    images, masks, _ = make_masks(tmp_path)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "write_mask", stop)
    with pytest.raises(KeyboardInterrupt):
        convert.from_masks(images, masks, Path(tmp_path / "own"), OWN, {0: 0, 7: 1, 9: 2})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "masks"]


# --- on the command line ------------------------------------------------------------------------------------


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_data_labelme_is_from_labelme(tmp_path, capsys):
    source = make_labelme(tmp_path / "photos")
    words = [
        "data",
        "labelme",
        str(source),
        "--out",
        str(tmp_path / "a"),
        "--val-share",
        "0.4",
        "--seed",
        "3",
    ]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "a: 2 images to train on and 1 to validate on\nclasses: background, cup, pen\n" in out
    want = convert.from_labelme(source, tmp_path / "b", val_share=0.4, seed=3)
    assert files_of(tmp_path / "a") == files_of(want)
    assert cli.main(words) == 1
    assert "a: already exists" in capsys.readouterr().err


def test_data_labelme_takes_a_list_of_classes(tmp_path):
    source, names = make_labelme(tmp_path / "photos"), tmp_path / "names.txt"
    names.write_text("ground\npen\ncup\n")
    assert (
        cli.main(["data", "labelme", str(source), "--out", str(tmp_path / "a"), "--classes", str(names)]) == 0
    )
    assert voc.folder_classes(tmp_path / "a").names == ("ground", "pen", "cup")


def test_data_masks_is_from_masks(tmp_path, capsys):
    images, masks, _ = make_masks(tmp_path)
    names = classes.write_classes(tmp_path / "names.txt", OWN)
    words = ["data", "masks", str(images), str(masks), "--classes", str(names), "--out", str(tmp_path / "a")]
    assert cli.main(words) == 1
    assert "value 7 at" in (error := capsys.readouterr().err) or "value 9 at" in error
    assert cli.main([*words, "--map", "0:0", "7:1", "9:2"]) == 0
    want = convert.from_masks(images, masks, tmp_path / "b", OWN, {0: 0, 7: 1, 9: 2})
    assert files_of(tmp_path / "a") == files_of(want)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--map", "7"], "two whole numbers OLD:NEW"),
        (["--map", "7:-1"], "two whole numbers OLD:NEW"),
        (["--val-share", "1"], "above 0 and below 1"),
        (["--seed", "-1"], "whole number of at least 0"),
    ],
)
def test_wrong_words_are_wrong_usage(words, message, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["data", "masks", "i", "m", "--classes", "c", "--out", "o", *words])
    assert error.value.code == 2 and message in capsys.readouterr().err
