"""The lists and files of a folder in VOC layout."""

import pytest
from voc_layout import make_folder

from d2lseg.engine import layout


@pytest.fixture
def folder(tmp_path):
    make_folder(tmp_path)
    return tmp_path


def test_lists_are_read_in_order(folder):
    assert layout.list_path(folder, "val") == folder / "ImageSets" / "Segmentation" / "val.txt"
    assert layout.read_ids(folder, "val") == ["val_00", "val_01"]
    assert layout.read_ids(folder, "trainval")[4:] == ["train_04", "val_00", "val_01"]


@pytest.mark.parametrize("line", ["../a", "a\\b", "C:a", "a\x1b[2J"])
def test_a_line_that_is_not_a_name_is_refused(folder, line):
    layout.list_path(folder, "val").write_text(f"val_00\n{line}\n")
    with pytest.raises(ValueError, match=r"val\.txt: .* is not an ID; .*JPEGImages.* Fix this line"):
        layout.read_ids(folder, "val")


def test_of_several_images_the_first_suffix_counts(folder):
    image, mask = layout.pair_paths(folder, "val_00")
    assert image.name == "val_00.jpg" and mask.name == "val_00.png" and image.is_file() and mask.is_file()
    image.with_suffix(".png").touch()
    assert layout.pair_paths(folder, "val_00")[0] == image
    image.unlink()
    assert layout.pair_paths(folder, "val_00")[0] == image.with_suffix(".png")
    assert layout.pair_paths(folder, "absent")[0].name == "absent.jpg"


def test_a_folder_is_listed_and_a_missing_one_is_empty(folder):
    assert layout.file_names(folder / "ImageSets" / "Segmentation") == {"train.txt", "val.txt"}
    assert layout.file_names(folder / "absent") == layout.file_names(layout.list_path(folder, "val")) == set()


@pytest.mark.parametrize("place", [0, 1])
def test_the_first_missing_file_is_named(folder, place):
    ids = layout.read_ids(folder, "val")
    layout.check_present(folder, "val", ids)
    path = layout.pair_paths(folder, "val_01")[place]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{path.name}: missing, but 'val' lists it.*d2lseg doctor"):
        layout.check_present(folder, "val", ids)


def test_a_listed_path_must_be_a_file(folder):
    image, mask = layout.pair_paths(folder, "val_00")
    layout.check_listed("val", image, mask)
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=r"val_00\.png: no such image; 'val' lists it: put it there"):
        layout.check_listed("val", image, mask)
    mask.mkdir()
    with pytest.raises(ValueError, match=r"val_00\.png: a folder"):
        layout.check_listed("val", image, mask)


def test_what_cannot_be_read_is_collected():
    def read(name):
        if name == "large":
            raise MemoryError
        if name != "good":
            raise {"absent": FileNotFoundError, "broken": ValueError}[name](f"{name}.jpg: why")

    bad = layout.unreadable(["good", "absent", "large", "broken", "absent"], read, "reading", progress=False)
    assert list(bad) == ["absent", "large", "broken"]
    assert bad["broken"] == "broken.jpg: why" and "too large for the memory" in bad["large"]


def test_bad_names_are_split_off_with_their_reasons():
    kept, skipped = layout.without(["a", "b", "a", "c"], {"c": "cut", "x": "of another list"}, "SET", "val")
    assert kept == ["a", "b", "a"] and skipped == {"c": "cut"}
    with pytest.raises(ValueError, match="SET: no image of 'val' can be used, the first: cut"):
        layout.without(["c", "c"], {"c": "cut"}, "SET", "val")
