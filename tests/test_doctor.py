"""The doctor finds every fault of a folder at once, tells warnings from faults, and counts correctly."""

import argparse
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from voc_layout import SIZES, make_folder, write_mask, write_pair

from d2lseg import cli, voc
from d2lseg.classes import VOC_CLASSES
from d2lseg.cli import common
from d2lseg.datasets import doctor
from d2lseg.engine import distributed


@pytest.fixture
def folder(tmp_path):
    """A set in which every class occurs in both lists, and twice in val."""
    path = tmp_path / "set"
    make_folder(path, SIZES | {"val": [*SIZES["val"], (40, 60)]})
    for name in ("train_00", "val_00", "val_02"):
        label = np.arange(40 * 60).reshape(40, 60) % 21
        write_pair(path, name, label, seed=len(name))
    return path


def found(folder, **options):
    return [str(finding) for finding in doctor.examine(folder, **options).findings]


def only(folder, **options):
    (finding,) = found(folder, **options)
    return finding


def lists(folder):
    return folder / "ImageSets" / "Segmentation"


def test_a_good_set_has_no_fault(folder, capsys):
    assert found(folder) == []
    assert cli.main(["doctor", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(f"{folder}: no fault found\n") and "fault:" not in printed
    line = next(line for line in printed.splitlines() if line.startswith("train ") and "5 of 5" in line)
    assert re.findall(r"\d+", line) == ["5", "5", "24", "64", "30", "60"]


def test_an_export_is_sent_to_the_importer(tmp_path):
    (tmp_path / "images").mkdir()
    assert "not a folder in VOC layout" in (line := only(tmp_path)) and "python -m d2lseg data import" in line


def test_all_faults_are_found_in_one_go(folder, capsys):
    """One of each kind; none hides another, not even two of one pair."""
    images, masks = folder / "JPEGImages", folder / "SegmentationClass"
    (images / "train_00.jpg").write_bytes(b"not an image")
    write_mask(masks / "train_00.png", np.full((9, 9), 77))
    (images / "train_01.jpg").unlink()
    (masks / "train_02.png").unlink()
    write_mask(masks / "train_03.png", np.zeros((33, 34)))
    (lists(folder) / "val.txt").write_text("val_00\nval_01\nval_01\ntrain_04\n")
    lines = found(folder)
    faults = [line for line in lines if line.startswith("fault: ")]
    for words in (
        r"val\.txt: .*twice.*: val_01; ",
        r"train and val: train_04; ",
        r"train_01\.jpg: .*'train'.*; put it there",
        r"train_02\.png: .*'train'.*; put it there",
        r"train_00\.jpg: .*Replace",
        r"train_00\.png: index 77",
        r"train_03\.jpg and its mask: .*\(3, 33, 33\).*\(33, 34\)",
    ):
        assert sum(bool(re.search(words, fault)) for fault in faults) == 1, (words, lines)
    assert len(faults) == 7
    assert cli.main(["doctor", str(folder)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(lines)] == lines and f"{folder}: 7 faults found" in printed[-1]
    assert any(line.startswith("train   3 of 5 images read") for line in printed)


def test_a_missing_folder_is_a_fault(tmp_path, capsys):
    assert only(tmp_path / "x") == f"fault: {tmp_path / 'x'}: no such folder; check the path"
    assert cli.main(["doctor", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().out.endswith("x: 1 fault found\n")


def test_an_empty_folder_has_two_faults(tmp_path):
    assert [line.split(";")[0] for line in found(tmp_path)] == [
        f"fault: {tmp_path / 'ImageSets' / 'Segmentation' / name}: no such list"
        for name in ("train.txt", "val.txt")
    ]


@pytest.mark.parametrize(("name", "count"), [("VOC2012", 2), ("VOC2011", 0)])
def test_the_counts_of_voc_2012_are_held_to_it(folder, name, count):
    place = folder.rename(folder.parent / name)
    lines = found(place)
    assert len(lines) == count
    if lines:
        assert re.search("5 .*train; .*1,464; unpack", lines[0])
        assert re.search("3 .*val; .*1,449; unpack", lines[1])
        (place / "classes.txt").write_text("\n".join(VOC_CLASSES))  # then it is somebody's own
        assert found(place) == []


def test_the_right_counts_of_voc_2012_are_no_fault(tmp_path):
    splits = [doctor.Split(name, ["x"] * count) for name, count in doctor.VOC2012_COUNTS.items()]
    (tmp_path / "VOC2012").mkdir()
    assert doctor.check_counts(tmp_path / "VOC2012", splits) == []
    splits[0].ids.pop()
    assert len(doctor.check_counts(tmp_path / "VOC2012", splits)) == 1


def test_what_no_list_names_is_a_warning(folder):
    for name in ("both", "image", "mask"):
        write_pair(folder, name, np.zeros((40, 40)), seed=99)
    (folder / "JPEGImages" / "mask.jpg").unlink()
    (folder / "SegmentationClass" / "image.png").unlink()
    lines = [line.split("; ")[0] for line in found(folder)]
    assert all(line.startswith(f"warning: {folder}: ") for line in lines)
    assert [line.split(": ")[-1] for line in lines] == ["both", "image", "mask"]
    assert all("no list" in line for line in lines)
    assert cli.main(["doctor", str(folder)]) == 0


def test_names_on_another_list_are_listed(folder):
    write_pair(folder, "more", np.zeros((40, 40)), seed=99)
    assert "on no list" in only(folder)
    (folder / "ImageSets" / "Segmentation" / "train_aug.txt").write_text("more\n")
    assert found(folder) == []


def test_a_training_list_that_holds_validation_images_is_a_warning(folder):
    lists = folder / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").write_text("val_00\n")  # as it should
    (lists / "train_aug.txt").write_text("val_00\n")
    assert "on both lists, train_aug and val: val_00; do not train" in only(folder)


def test_many_names_are_cut_short(folder):
    for i in range(7):
        shutil.copy(folder / "JPEGImages" / "val_00.jpg", folder / "JPEGImages" / f"more_{i}.jpg")
    assert ": more_0, more_1, more_2, more_3, more_4 and 2 more; " in only(folder)


def test_two_images_of_one_name_are_a_warning(folder):
    Image.new("RGB", (60, 40)).save(folder / "JPEGImages" / "val_00.png")
    line = only(folder)
    assert line.startswith("warning: ") and ": val_00; the first of .jpg, .jpeg, .png" in line


def test_another_suffix_is_named(folder):
    image = folder / "JPEGImages" / "val_00.jpg"
    image.rename(image.with_suffix(".webp"))
    (line, *_) = found(folder)
    assert "val_00.webp: save it as val_00.jpg" in line


@pytest.mark.parametrize("suffix", [".JPG", ".Jpg", ".PNG", ".JPEG"])
def test_capitals_in_a_suffix_make_no_difference(folder, suffix):
    image = folder / "JPEGImages" / "val_00.jpg"
    image.rename(image.with_suffix(suffix))
    mask = folder / "SegmentationClass" / "val_00.png"
    mask.rename(mask.with_suffix(".PNG"))
    assert found(folder) == []
    assert len(list(voc.VOCSegDataset(folder, "val"))) == 3


def test_the_same_file_in_both_lists_is_a_fault(folder):
    for part in ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"):
        shutil.copy(folder / part.format("train_00"), folder / part.format("val_01"))
    assert re.match("fault: .*'val_01' of val .*train_00 of train; ", only(folder))


def test_classes_that_never_occur_are_warnings(folder):
    write_mask(folder / "SegmentationClass" / "val_00.png", np.full((40, 60), 3))
    write_mask(folder / "SegmentationClass" / "val_01.png", np.full((20, 70), 12))
    write_mask(folder / "SegmentationClass" / "val_02.png", np.resize([3, 12], (40, 60)))
    line = only(folder)
    assert re.match("warning: .*val: background, aeroplane, bicycle, boat, bottle and 14.*; add", line)


def test_masks_that_are_mostly_void_are_a_warning(folder):
    label = np.full((20, 70), 255)
    write_mask(folder / "SegmentationClass" / "val_01.png", label)
    line = only(folder)
    assert line.startswith(f"warning: {folder / 'SegmentationClass' / 'val_01.png'}: all void")
    assert line.endswith("; label it")
    label = np.where(np.arange(2400).reshape(40, 60) < 2000, 255, np.arange(2400).reshape(40, 60) % 21)
    for name in ("val_00", "val_02"):
        write_mask(folder / "SegmentationClass" / f"{name}.png", label)
    assert "87% of the pixels of val " in found(folder)[-1]


def test_thumbnails_are_a_warning(folder):
    write_pair(folder, "val_01", np.zeros((4, 31)), seed=5)
    assert "val_01.jpg: 4x31 pixels" in only(folder)


def test_without_readable_classes_the_rest_is_examined(folder):
    (folder / "classes.txt").write_text("one\n")
    (folder / "JPEGImages" / "val_01.jpg").write_bytes(b"")
    first, second = found(folder)
    assert "classes.txt: 1 classes" in first and "val_01.jpg" in second
    assert any(line.startswith("class 20 ") for line in doctor.summary(doctor.examine(folder)))


def test_own_classes_are_read_from_a_file(folder, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(f"thing {i}" for i in range(15)))
    lines = found(folder, classes=path)
    assert any("index 15" in line and "expected 0..14" in line for line in lines)
    path.write_text("\n".join(f"thing {i}" for i in range(21)))
    assert found(folder, classes=path) == []
    assert cli.main(["doctor", str(folder), "--classes", str(path)]) == 0


def test_the_shares_agree_with_a_count_by_hand(folder):
    report = doctor.examine(folder)
    train = report.splits[0]
    labels = [label for _, label in voc.VOCSegDataset(folder)]
    flat = torch.cat([label.flatten() for label in labels])
    assert train.counts.tolist() == torch.bincount(flat.long(), minlength=256).tolist()
    assert train.images[3] == sum(bool((label == 3).any()) for label in labels)
    share = int((flat == 3).sum()) / int((flat != 255).sum())
    row = next(line for line in doctor.summary(report) if line.startswith("bird "))
    assert row.split()[1:3] == [f"{share:.2%}", f"{train.images[3]}"]
    void = next(line for line in doctor.summary(report) if line.startswith("void "))
    assert void.split()[4] == f"{int((flat == 255).sum()) / len(flat):.2%}"


def test_an_image_that_does_not_fit_into_memory_is_a_fault(folder, monkeypatch):
    real = voc.read_image

    def large(path):
        if path.stem == "val_01":
            raise MemoryError
        return real(path)

    monkeypatch.setattr(voc, "read_image", large)
    line = only(folder)
    assert line.startswith(f"fault: {folder / 'JPEGImages' / 'val_01.jpg'}: ")
    assert line.endswith("memory; save a smaller copy")
    assert "too large for the memory" in voc.VOCSegDataset(folder, "val", skip_bad=True).skipped["val_01"]


def test_a_finding_is_one_line():
    assert str(doctor.Finding("a\nb  c", "do\nit", warning=True)) == "warning: a b c; do it"


def test_classes_in_a_single_validation_image_are_a_warning(folder):
    write_mask(folder / "SegmentationClass" / "val_02.png", np.arange(40 * 60).reshape(40, 60) % 18)
    line = only(folder)  # 20 is in val_01 too
    assert line.startswith("warning: in one image of val only: sofa, train; ")


# ------------------------------------------------------------------ bad images before a training run


@pytest.fixture
def spoilt(folder):
    """Two bad images of five in train, one of two in val."""
    (folder / "JPEGImages" / "train_01.jpg").write_bytes(b"not an image")
    (folder / "SegmentationClass" / "train_03.png").unlink()
    write_mask(folder / "SegmentationClass" / "val_00.png", np.zeros((3, 3)))
    return folder


def test_bad_pairs_are_left_out_and_named(spoilt):
    data = voc.VOCSegDataset(spoilt, skip_bad=True)
    assert data.ids == ["train_00", "train_02", "train_04"] and len(list(data)) == 3
    assert list(data.skipped) == ["train_01", "train_03"]
    assert "train_01.jpg: " in data.skipped["train_01"]
    assert "train_03.png: " in data.skipped["train_03"]
    assert "do not fit" in voc.VOCSegDataset(spoilt, "val", skip_bad=True).skipped["val_00"]


def test_a_good_set_loses_nothing(folder):
    data = voc.VOCSegDataset(folder, skip_bad=True)
    assert len(data) == 5 and data.skipped == {} and voc.check_files(data, progress=False) == {}


def test_names_that_another_process_found_are_left_out_without_reading(folder):
    data = voc.VOCSegDataset(folder, skip_bad={"train_01": "it said so", "val_00": "of the other list"})
    assert data.skipped == {"train_01": "it said so"} and "train_01" not in data.ids and len(data) == 4


def test_a_list_of_bad_pairs_alone_is_refused(folder):
    for name in ("val_00", "val_01", "val_02"):
        (folder / "JPEGImages" / f"{name}.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"'val' .*val_00\.jpg.*0 bytes"):
        voc.VOCSegDataset(folder, "val", skip_bad=True)


def test_the_loaders_leave_out_the_same(spoilt):
    train_iter, val_iter = voc.load_data_voc(spoilt, 3, (16, 16), num_workers=0, skip_bad=True)
    assert len(train_iter.dataset) == 3 and len(val_iter) == 2 and len(list(train_iter)) == 1
    assert list(val_iter.dataset.skipped) == ["val_00"]


def train(folder, out, *more):
    words = [
        "train",
        "--data",
        folder,
        "--epochs",
        1,
        "--batch",
        2,
        "--crop",
        32,
        32,
        "--out",
        out,
        "--threads",
        1,
    ]
    return cli.main([str(word) for word in (*words, "--precision", "float32", "--device", "cpu", *more)])


def test_training_stops_before_its_first_epoch(spoilt, tmp_path, capsys):
    assert train(spoilt, tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: 3 images cannot be used, the first: ") and "train_01.jpg" in line
    assert "python -m d2lseg doctor" in line and line.endswith("--skip-bad")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_training_leaves_bad_images_out_and_so_does_evaluation(spoilt, tmp_path, capsys):
    assert train(spoilt, tmp_path / "out", "--skip-bad") == 0
    printed = capsys.readouterr().out
    assert "3 training and 2 validation images" in printed
    tail = printed[printed.index("left out: 3 images that cannot be used") :].splitlines()
    assert [line.split(":")[0].strip() for line in tail[1:]] == ["train_01", "train_03", "val_00"]
    score = [
        "evaluate",
        "--checkpoint",
        str(tmp_path / "out" / "model.pt"),
        "--data",
        str(spoilt),
        "--threads",
        "1",
    ]
    assert cli.main(score) == 1
    assert "1 image cannot be used, the first: " in capsys.readouterr().err
    assert cli.main([*score, "--skip-bad"]) == 0
    printed = capsys.readouterr().out
    assert "on 2 images" in printed and "left out: 1 image that cannot be used\n  val_00: " in printed


def test_several_processes_leave_out_what_the_first_has_found(folder, monkeypatch):
    """This process plays one that is not the first: it reads nothing, and takes what it is told."""
    told = {"train_02": "it said so"}
    monkeypatch.setattr(distributed, "from_first", lambda make: told)
    monkeypatch.setattr(voc, "check_files", lambda *_: pytest.fail("the first process reads for all"))
    options = argparse.Namespace(no_check=False, skip_bad=True)
    bad = common.bad_images(options, folder, voc.VOC, ("train", "val"))
    assert bad == told and len(voc.VOCSegDataset(folder, skip_bad=bad)) == 4


def test_without_the_check_a_bad_image_stops_training_in_the_middle(spoilt, tmp_path, capsys, monkeypatch):
    (spoilt / "ImageSets" / "Segmentation" / "train.txt").write_text("train_00\ntrain_01\n")
    monkeypatch.setattr(voc, "check_files", lambda *_: pytest.fail("it was told not to"))
    assert train(spoilt, tmp_path / "out", "--no-check") == 1
    assert "train_01.jpg: cannot be read" in capsys.readouterr().err


def test_check_and_skip_exclude_each_other(spoilt, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train(spoilt, tmp_path / "out", "--no-check", "--skip-bad")
    assert "not allowed with" in capsys.readouterr().err
