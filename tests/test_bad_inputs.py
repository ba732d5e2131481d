"""One test for each row of docs/bad-inputs.md: the error names the file, the value and what to do."""

import builtins
import errno
import json
import os
import pickle
import re
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from d2lseg import backbones, classes, fcn, metrics, prediction, training, voc
from d2lseg.cli import common, errors, evaluate
from d2lseg.datasets import class_order, convert, doctor
from d2lseg.engine import checkpoint, files
from tools import mutate

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "docs" / "bad-inputs.md"
LINKS = pytest.mark.skipif(os.name == "nt", reason="Windows lets not every user make links")


def read_all(bench):
    """Read both lists, as a training does."""
    bench.dataset(None)


def load(bench):
    fcn.load(bench.checkpoint)


# Where the faults are, as errors name it; SET stands for the dataset's folder.
TRAIN = "SET/ImageSets/Segmentation/train.txt"
IMAGE_A, IMAGE_B = "SET/JPEGImages/a.jpg", "SET/JPEGImages/b.png"
MASK = "SET/SegmentationClass/a.png"
CLASSES, CHECKPOINT = "SET/classes.txt", "SET/model.pt"
DOCTOR = "python -m d2lseg doctor"  # advice that the doctor itself does not give


@dataclass
class Row:
    """A bad input: ``spoil`` makes it, ``use`` meets it.

    ``names`` are words that its error must hold: the file, the value that was found, what to do. The rest of
    the sentence is free. ``error`` is None where the input works.
    """

    spoil: callable
    error: type | None = None
    use: callable = None
    names: tuple = ()
    marks: tuple = ()


ROWS = {}


def row(name, error=None, use=None, **more):
    """Add a row of the table."""

    def add(spoil):
        assert name not in ROWS
        ROWS[name] = Row(spoil, error, use, **more)
        return spoil

    return add


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A good dataset, with classes of its own, and a good checkpoint of a tiny network."""
    monkeypatch.setattr(backbones, "BACKBONES", dict(backbones.BACKBONES))
    monkeypatch.setattr(backbones, "make_backbone", backbones.make_backbone)
    mutate.add_tiny_backbone()
    made = mutate.Bench(tmp_path / "SET")
    made.lists = made.folder / "ImageSets" / "Segmentation"
    made.image_a, made.image_b = (made.folder / "JPEGImages" / name for name in ("a.jpg", "b.png"))
    made.mask = made.folder / "SegmentationClass" / "a.png"
    made.monkeypatch = monkeypatch
    return made


# ------------------------------------------------------------------ the table


def table():
    """Read the document: id -> what the user sees."""
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \|$", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    assert len({name for name, _, _ in rows}) == len(rows), "an id comes twice"
    return {name: sees for name, _, sees in rows}


def absent(names, message, folder="SET"):
    """List the names that a message does not hold."""
    message = message.replace(str(folder), "SET").replace(os.sep, "/")
    return [name for name in names if name.replace(os.sep, "/") not in message]


def test_the_table_and_the_tests_have_the_same_rows():
    assert set(table()) == set(ROWS)
    assert len(ROWS) >= 40


def test_the_table_shows_what_the_errors_name():
    for name, sees in table().items():
        if ROWS[name].error is None:
            assert sees.startswith("works: "), name
        else:
            assert re.fullmatch("`.+`", sees) and absent(ROWS[name].names, sees) == [], name


def test_each_error_names_a_place_and_something_else():
    for name, row in ROWS.items():
        assert (len(row.names) >= 2) == (row.error is not None), name


def test_an_error_without_a_name_would_be_found(tmp_path):
    names = ("SET/a.jpg", "float32", "8-bit PNG")
    for said in ("holds float32, from 0 to 1. Save it as 8-bit PNG", "float32; another format: 8-bit PNG"):
        assert absent(names, f"{tmp_path / 'a.jpg'}: {said}", tmp_path) == []
    assert absent(names, f"{tmp_path / 'b.jpg'}: float32; 8-bit PNG", tmp_path) == ["SET/a.jpg"]
    assert absent(names, f"{tmp_path / 'a.jpg'}: broken", tmp_path) == ["float32", "8-bit PNG"]


def parameters(choose=lambda row: True):
    return [pytest.param(name, marks=row.marks) for name, row in ROWS.items() if choose(row)]


def see(row, bench):
    """Meet the input."""
    row.spoil(bench)
    if row.use is not None:
        row.use(bench)


def check_row(row, bench):
    if row.error is None:
        see(row, bench)
        return
    with pytest.raises(row.error) as caught:
        see(row, bench)
    assert type(caught.value) is row.error
    assert absent(row.names, str(caught.value), bench.folder) == [], caught.value


def check_doctor(row, bench):
    """The doctor reports the same, as a fault, and goes on to the end."""
    row.spoil(bench)
    report, names = doctor.examine(bench.folder), [name for name in row.names if name != DOCTOR]
    assert any(absent(names, str(fault), bench.folder) == [] for fault in report.faults), report.findings
    assert len(report.splits) == 2 and doctor.summary(report)


# ------------------------------------------------------------------ lists


@row("list-missing", FileNotFoundError, read_all, names=(TRAIN, "VOC layout"))
def _(bench):
    (bench.lists / "train.txt").unlink()


@row("list-empty", ValueError, read_all, names=(TRAIN, "empty", "2007_000032"))
def _(bench):
    (bench.lists / "train.txt").write_text("\n \n")


@row("list-blank-lines")
def _(bench):
    (bench.lists / "train.txt").write_text("\na\n\n  b  \n\n")
    assert voc.VOCSegDataset(bench.folder).ids == ["a", "b"]


@row("list-windows-line-ends")
def _(bench):
    (bench.lists / "train.txt").write_bytes(b"a\r\nb\r\n")
    assert voc.VOCSegDataset(bench.folder).ids == ["a", "b"]


@row("list-byte-order-mark")
def _(bench):
    (bench.lists / "train.txt").write_bytes(b"\xef\xbb\xbfa\nb\n")
    assert voc.VOCSegDataset(bench.folder).ids == ["a", "b"]


@row("list-utf-16", ValueError, read_all, names=(TRAIN, "0xff", "as UTF-8"))
def _(bench):
    (bench.lists / "train.txt").write_text("a\nb\n", encoding="utf-16")


@row("list-utf-16-without-mark", ValueError, read_all, names=(TRAIN, r"'a\x00'", "JPEGImages"))
def _(bench):
    (bench.lists / "train.txt").write_text("a\nb\n", encoding="utf-16-le")


@row("list-latin-1", ValueError, read_all, names=(TRAIN, "0xfc", "as UTF-8"))
def _(bench):
    (bench.lists / "train.txt").write_bytes("a\nPflügen\n".encode("latin-1"))


@row("list-a-folder", ValueError, read_all, names=(TRAIN, "a folder", "move"))
def _(bench):
    (bench.lists / "train.txt").unlink()
    (bench.lists / "train.txt").mkdir()


@row("list-link-loop", ValueError, read_all, marks=LINKS, names=(TRAIN, "symbolic link", "the list"))
def _(bench):
    (bench.lists / "train.txt").unlink()
    (bench.lists / "train.txt").symlink_to("train.txt")


def forbid(bench, path):
    """Let the system refuse to open a file; root, as whom tests may run, could read it all the same."""
    real = builtins.open

    def refuse(file, *args, **options):
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *args, **options)

    bench.monkeypatch.setattr(builtins, "open", refuse)


@row("list-no-permission", PermissionError, read_all, names=(TRAIN, "chmod +r"))
def _(bench):
    forbid(bench, bench.lists / "train.txt")


@row("list-broken-disk", OSError, read_all, names=(TRAIN, "Input/output error", "disk"))
def _(bench):
    real, path = os.stat, bench.lists / "train.txt"

    def broken(file, *args, **options):
        if str(file) == str(path):
            raise OSError(5, "Input/output error", str(file))
        return real(file, *args, **options)

    bench.monkeypatch.setattr(files.os, "stat", broken)


@row("id-with-folder", ValueError, read_all, names=(TRAIN, "'../../other/b'", "without folder"))
def _(bench):
    (bench.lists / "train.txt").write_text("a\n../../other/b\n")


@row("id-with-backslash", ValueError, read_all, names=(TRAIN, r"'..\\b'", "without folder"))
def _(bench):
    (bench.lists / "train.txt").write_text("a\n..\\b\n")


@row("id-with-drive", ValueError, read_all, names=(TRAIN, "'C:b'", "without folder"))
def _(bench):
    (bench.lists / "train.txt").write_text("a\nC:b\n")


@row("id-control-character", ValueError, read_all, names=(TRAIN, r"'\x1b[2J'", "JPEGImages"))
def _(bench):
    (bench.lists / "train.txt").write_text("a\n\x1b[2J\n")


@row(
    "id-too-long",
    FileNotFoundError,
    read_all,
    names=("SET/JPEGImages/bbb", "'train'", DOCTOR),
)
def _(bench):
    (bench.lists / "train.txt").write_text("a\n" + "b" * 300 + "\n")


@row(
    "id-with-ending",
    FileNotFoundError,
    read_all,
    names=("SET/JPEGImages/b.png.jpg", "'train'", DOCTOR),
)
def _(bench):
    (bench.lists / "train.txt").write_text("a\nb.png\n")


@row("id-twice")
def _(bench):
    (bench.lists / "train.txt").write_text("a\nb\na\n")
    assert len(voc.VOCSegDataset(bench.folder)) == 3
    (fault,) = doctor.examine(bench.folder).faults
    assert absent((TRAIN, "twice", ": a;"), str(fault), bench.folder) == []


@row("id-on-both-lists")
def _(bench):
    (bench.lists / "val.txt").write_text("d\na\n")
    assert len(voc.VOCSegDataset(bench.folder, "val")) == 2
    (fault,) = doctor.examine(bench.folder).faults
    assert absent(("train and val", ": a;"), str(fault)) == []


@row("folder-missing", FileNotFoundError, names=("--data", "SET/nowhere", "docs/command-line.md"))
def _(bench):
    common.dataset(str(bench.folder / "nowhere"))


@row(
    "folder-no-layout",
    FileNotFoundError,
    names=("SET/JPEGImages/ImageSets/Segmentation/train.txt", "VOC layout"),
)
def _(bench):
    voc.VOCSegDataset(bench.folder / "JPEGImages")


@row("folder-no-permission", PermissionError, read_all, names=("SET/JPEGImages:", "chmod +r"))
def _(bench):
    real = os.listdir

    def refuse(folder="."):
        if Path(folder).name == "JPEGImages":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    bench.monkeypatch.setattr(os, "listdir", refuse)


# ------------------------------------------------------------------ images


@row("image-missing", FileNotFoundError, read_all, names=(IMAGE_A, "'train'", DOCTOR))
def _(bench):
    bench.image_a.unlink()


@row("image-zero-bytes", ValueError, read_all, names=(IMAGE_A, "0 bytes", "Replace"))
def _(bench):
    bench.image_a.write_bytes(b"")


@row("image-cut-jpeg", ValueError, read_all, names=(IMAGE_A, "truncated", "Replace"))
def _(bench):
    bench.image_a.write_bytes(bench.image_a.read_bytes()[:-300])


@row("image-cut-png", ValueError, read_all, names=(IMAGE_B, "truncated", "Replace"))
def _(bench):
    bench.image_b.write_bytes(bench.image_b.read_bytes()[:500])


@row("image-a-text", ValueError, read_all, names=(IMAGE_A, "format is not known", "Replace"))
def _(bench):
    bench.image_a.write_text("no image")


@row("image-a-folder", ValueError, read_all, names=(IMAGE_A, "a folder", "move"))
def _(bench):
    bench.image_a.unlink()
    bench.image_a.mkdir()


@row("image-link-loop", ValueError, read_all, marks=LINKS, names=(IMAGE_B, "symbolic link", "replace"))
def _(bench):
    bench.image_b.unlink()
    bench.image_b.symlink_to("b.png")


@row(
    "image-dangling-link", FileNotFoundError, read_all, marks=LINKS, names=(IMAGE_A, "'train'", "take it off")
)
def _(bench):
    bench.image_a.unlink()
    bench.image_a.symlink_to("gone.jpg")


@row("image-no-permission", PermissionError, read_all, names=(IMAGE_A, "chmod +r"))
def _(bench):
    forbid(bench, bench.image_a)


@row("image-a-pipe", ValueError, read_all, marks=LINKS, names=(IMAGE_A, "a pipe", "move"))
def _(bench):
    bench.image_a.unlink()
    os.mkfifo(bench.image_a)  # to open it would wait for ever


@row("image-bomb", ValueError, read_all, names=(IMAGE_B, "pixels", "PIL.Image.MAX_IMAGE_PIXELS"))
def _(bench):
    Image.new("1", (14000, 14000)).save(bench.image_b, compress_level=1)  # 196 million pixels


@row("image-float", ValueError, read_all, names=(IMAGE_A, "float32", "8-bit PNG"))
def _(bench):
    Image.fromarray(np.linspace(0, 1, 960, dtype=np.float32).reshape(24, 40)).save(bench.image_a, "TIFF")


def first_image(bench):
    return voc.VOCSegDataset(bench.folder)[0][0]


@row("image-cmyk")
def _(bench):
    Image.new("CMYK", (40, 24), (255, 0, 0, 0)).save(bench.image_a)
    assert first_image(bench)[:, 12, 20].tolist() == pytest.approx([0, 255, 255], abs=3)


@row("image-grey")
def _(bench):
    Image.new("L", (40, 24), 77).save(bench.image_a)
    assert first_image(bench)[:, 12, 20].tolist() == pytest.approx([77, 77, 77], abs=3)


@row("image-16-bit")
def _(bench):
    Image.fromarray(np.full((24, 40), 257 * 99, np.uint16)).save(bench.image_a, "PNG")
    assert first_image(bench)[:, 12, 20].tolist() == [99, 99, 99]


@row("image-alpha")
def _(bench):
    image = Image.new("RGBA", (40, 24), (10, 20, 30, 255))
    image.putpixel((20, 12), (10, 20, 30, 0))
    image.save(bench.image_a, "PNG")
    assert first_image(bench)[:, 12, 20].tolist() == [255, 255, 255]


@row("image-infrared-as-alpha", ValueError, read_all, names=(IMAGE_A, "tagged as transparency", "alone"))
def _(bench):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    Image.fromarray(noise).save(bench.image_a, "PNG")


@row("image-all-transparent", ValueError, read_all, names=(IMAGE_A, "transparent everywhere", "alone"))
def _(bench):
    Image.new("RGBA", (40, 24), (10, 20, 30, 0)).save(bench.image_a, "PNG")


@row("image-capital-suffix")
def _(bench):
    bench.image_a.rename(bench.image_a.with_suffix(".JPG"))
    bench.mask.rename(bench.mask.with_suffix(".PNG"))
    assert first_image(bench).shape == (3, 24, 40)
    assert doctor.examine(bench.folder).faults == []


@row("image-animated")
def _(bench):
    frames = [Image.new("RGB", (40, 24), colour) for colour in ("red", "blue")]
    frames[0].save(bench.image_a, "PNG", save_all=True, append_images=frames[1:])
    assert first_image(bench)[:, 12, 20].tolist() == [255, 0, 0]


def save_turned(bench):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 24), "red").save(bench.image_a, exif=exif)


@row("image-exif")
def _(bench):
    save_turned(bench)
    voc.write_mask(bench.mask, np.zeros((40, 24), np.uint8), voc.folder_classes(bench.folder))
    assert first_image(bench).shape == (3, 40, 24)


@row("image-exif-mask-not-turned", ValueError, read_all, names=(IMAGE_A, "(3, 40, 24)", "(24, 40)", "EXIF"))
def _(bench):
    save_turned(bench)


@row("image-one-pixel")
def _(bench):
    Image.new("RGB", (1, 1), "red").save(bench.image_a)
    voc.write_mask(bench.mask, np.zeros((1, 1), np.uint8), voc.folder_classes(bench.folder))
    image, label = voc.VOCSegDataset(bench.folder, crop_size=(8, 8))[0]
    assert image.shape == (3, 8, 8) and (label == 0).sum() == 1 and (label == 255).sum() == 63
    report = doctor.examine(bench.folder)
    assert not report.faults and any("less than one cell" in str(f) for f in report.findings)


# ------------------------------------------------------------------ masks


def mask(bench, array, mode=None, **options):
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    image.save(bench.mask, **{"format": "PNG"} | options)


@row("mask-missing", FileNotFoundError, read_all, names=(MASK, "'train'", DOCTOR))
def _(bench):
    bench.mask.unlink()


@row("mask-zero-bytes", ValueError, read_all, names=(MASK, "0 bytes", "Replace"))
def _(bench):
    bench.mask.write_bytes(b"")


@row("mask-cut", ValueError, read_all, names=(MASK, "truncated", "Replace"))
def _(bench):
    bench.mask.write_bytes(bench.mask.read_bytes()[:-60])


@row("mask-a-folder", ValueError, read_all, names=(MASK, "a folder", "move"))
def _(bench):
    bench.mask.unlink()
    bench.mask.mkdir()


@row("mask-another-size", ValueError, read_all, names=(IMAGE_A, "(3, 24, 40)", "(24, 41)", "Replace"))
def _(bench):
    voc.write_mask(bench.mask, np.zeros((24, 41), np.uint8), voc.folder_classes(bench.folder))


@row("mask-unknown-index", ValueError, read_all, names=(MASK, "index 7", "(0, 0)", "0..2", "255"))
def _(bench):
    mask(bench, np.full((24, 40), 7, np.uint8))


@row("mask-class-not-listed", ValueError, read_all, names=(MASK, "index 3", "(0, 0)", "also holds 3, 4: add"))
def _(bench):
    mask(bench, np.resize(np.array([3, 4, 1, 255], np.uint8), (24, 40)))


@row("mask-unknown-colour", ValueError, read_all, names=(MASK, "(9, 9, 9)", "(0, 0)", "PNG"))
def _(bench):
    mask(bench, np.full((24, 40, 3), 9, np.uint8))


@row(
    "mask-another-palette",
    ValueError,
    read_all,
    names=(MASK, "index 0", "(1, 1, 1)", "(0, 0, 0)", "right palette"),
)
def _(bench):
    voc.write_mask(
        bench.mask, np.zeros((24, 40), np.uint8), classes.ClassList(("x", "y"), ((1, 1, 1), (2, 2, 2)))
    )


@row("mask-float", ValueError, read_all, names=(MASK, "'F'", "palette PNG"))
def _(bench):
    mask(bench, np.zeros((24, 40), np.float32), format="TIFF")


@row("mask-alpha", ValueError, read_all, names=(MASK, "'RGBA'", "palette PNG"))
def _(bench):
    mask(bench, np.zeros((24, 40, 4), np.uint8))


@row("mask-16-bit", ValueError, read_all, names=(MASK, "PIL mode", "palette PNG"))
def _(bench):
    mask(bench, np.zeros((24, 40), np.uint16))


@row("mask-black-and-white", ValueError, read_all, names=(MASK, "'1'", "palette PNG"))
def _(bench):
    mask(bench, np.zeros((24, 40), np.uint8), "1")


@row("mask-jpeg", ValueError, read_all, names=(MASK, "JPEG", "as PNG"))
def _(bench):
    mask(bench, np.zeros((24, 40), np.uint8), format="JPEG")


@row("mask-wrong-ending", FileNotFoundError, read_all, names=(MASK, "'train'", DOCTOR))
def _(bench):
    bench.mask.rename(bench.mask.with_suffix(".bmp"))


@row("mask-animated")
def _(bench):
    frames = [Image.new("L", (40, 24), index) for index in (1, 2)]
    frames[0].save(bench.mask, save_all=True, append_images=frames[1:])
    assert (voc.VOCSegDataset(bench.folder)[0][1] == 1).all()


@row("mask-all-void")
def _(bench):
    mask(bench, np.full((24, 40), 255, np.uint8))
    label = voc.VOCSegDataset(bench.folder)[0][1]
    assert training.segmentation_loss(torch.zeros(1, 3, 24, 40), label[None]) == 0
    assert any("all void" in str(finding) for finding in doctor.examine(bench.folder).findings)


# ------------------------------------------------------------------ classes


def write_lines(bench, text):
    (bench.folder / "classes.txt").write_text(text)


@row("classes-missing", FileNotFoundError, names=("SET/cups.txt", "one class name a line"))
def _(bench):
    classes.read_classes(bench.folder / "cups.txt")


@row("classes-empty", ValueError, read_all, names=(CLASSES, "0 classes", "2 to 255"))
def _(bench):
    write_lines(bench, "\n")


@row("classes-one", ValueError, read_all, names=(CLASSES, "1 classes", "2 to 255"))
def _(bench):
    write_lines(bench, "background\n")


@row("classes-too-many", ValueError, read_all, names=(CLASSES, "256 classes", "2 to 255"))
def _(bench):
    write_lines(bench, "\n".join(f"c{i}" for i in range(256)))


@row("classes-twice", ValueError, read_all, names=(CLASSES, "'cup'", "name of its own"))
def _(bench):
    write_lines(bench, "background\ncup\ncup\n")


@row("classes-some-colours", ValueError, read_all, names=(CLASSES, "2 of 3", "all or none"))
def _(bench):
    write_lines(bench, "background 0 0 0\ncup 128 0 0\npen\n")


@row("classes-colour-above-255", ValueError, read_all, names=(CLASSES, "above 255", "0..255"))
def _(bench):
    write_lines(bench, f"background 0 0 0\ncup 128 0 {'9' * 5000}\n")


@row(
    "classes-same-colour",
    ValueError,
    read_all,
    names=(CLASSES, "2 different colours", "3 classes", "one per class"),
)
def _(bench):
    write_lines(bench, "background 0 0 0\ncup 128 0 0\npen 128 0 0\n")


@row("classes-not-utf-8", ValueError, read_all, names=(CLASSES, "0xfc", "as UTF-8"))
def _(bench):
    (bench.folder / "classes.txt").write_bytes(b"background\nb\xfccher\n")


@row("classes-no-text", ValueError, read_all, names=(CLASSES, r"'\x00\x01\x02'", "one class name a line"))
def _(bench):
    write_lines(bench, "background\n\x00\x01\x02\n")


@row("classes-void", ValueError, read_all, names=(CLASSES, "void or ignore", "255", "data import"))
def _(bench):
    write_lines(bench, "background\ncup\nVoid\n")


@row("classes-a-folder", ValueError, read_all, names=(CLASSES, "a folder", "move"))
def _(bench):
    (bench.folder / "classes.txt").unlink()
    (bench.folder / "classes.txt").mkdir()


@row(
    "classes-not-the-networks", ValueError, names=(CHECKPOINT, "'cup'", "'pen'", CLASSES, "data import --map")
)
def _(bench):
    names = ("background", "pen", "cup")
    evaluate.check_classes(bench.model, names, str(bench.checkpoint), None, bench.folder)


@row(
    "classes-another-order", ValueError, names=("SET/mine.txt", "'pen' is class 1", CLASSES, "--classes out")
)
def _(bench):
    path = bench.folder / "mine.txt"
    path.write_text("background\npen\ncup\n")
    common.class_list(bench.folder, str(path), None)


@row("classes-other-names")
def _(bench):
    path = bench.folder / "mine.txt"
    path.write_text("background\nTasse\npen\n")
    (line,) = class_order.check_order(bench.folder, classes.read_classes(path), "mine.txt")
    assert line.warning and "class 1 'Tasse' for 'cup'" in line.what


# ------------------------------------------------------------------ checkpoints


def change(bench, **parts):
    """Write the checkpoint anew, with other parts."""
    torch.save(torch.load(bench.checkpoint, weights_only=True) | parts, bench.checkpoint)


@row("checkpoint-missing", FileNotFoundError, load, names=(CHECKPOINT, "notebook 05"))
def _(bench):
    bench.checkpoint.unlink()


@row("checkpoint-a-folder", ValueError, load, names=(CHECKPOINT, "a folder", "move"))
def _(bench):
    bench.checkpoint.unlink()
    bench.checkpoint.mkdir()


@row("checkpoint-no-permission", PermissionError, load, names=(CHECKPOINT, "chmod +r"))
def _(bench):
    forbid(bench, bench.checkpoint)


@row("checkpoint-zero-bytes", ValueError, load, names=(CHECKPOINT, "0 bytes", "train again"))
def _(bench):
    bench.checkpoint.write_bytes(b"")


@row("checkpoint-cut", ValueError, load, names=(CHECKPOINT, "cut short", "train again"))
def _(bench):
    bench.checkpoint.write_bytes(bench.checkpoint.read_bytes()[:-1000])


@row("checkpoint-a-text", ValueError, load, names=(CHECKPOINT, "torch.save", "train again"))
def _(bench):
    bench.checkpoint.write_text("no checkpoint")


@row("checkpoint-flipped-bit", ValueError, load, names=(CHECKPOINT, "checksum", "train again"))
def _(bench):
    data = bytearray(bench.checkpoint.read_bytes())
    place = data.find(bench.model.score.weight.detach().numpy().tobytes())
    data[place + 5] ^= 1
    bench.checkpoint.write_bytes(data)
    assert torch.load(bench.checkpoint, weights_only=True), "torch alone does not notice"


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


@row("checkpoint-with-code", ValueError, load, names=(CHECKPOINT, "code", "train again"))
def _(bench):
    torch.save({"format": checkpoint.FORMAT, "notes": Evil()}, bench.checkpoint)


@row("checkpoint-plain-pickle", ValueError, load, names=(CHECKPOINT, "torch.save", "train again"))
def _(bench):
    bench.checkpoint.write_bytes(pickle.dumps(Evil()))


@row("checkpoint-packed-bomb", ValueError, load, names=(CHECKPOINT, "larger than the file", "train again"))
def _(bench):
    with zipfile.ZipFile(bench.checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data/0", bytes(50_000_000))


@row("checkpoint-another-archive", ValueError, load, names=(CHECKPOINT, "not a readable", "train again"))
def _(bench):
    with zipfile.ZipFile(bench.checkpoint, "w") as archive:
        archive.writestr("letter.txt", "dear reader")


@row("checkpoint-not-ours", ValueError, load, names=(CHECKPOINT, "torch file", "train again"))
def _(bench):
    torch.save(bench.model.state_dict(), bench.checkpoint)


@row("checkpoint-no-fcn", ValueError, load, names=(CHECKPOINT, "None", "num_classes", "fcn.save"))
def _(bench):
    checkpoint.write(bench.checkpoint, checkpoint.describe(torch.nn.Linear(3, 3)))


@row("checkpoint-another-class-count", ValueError, load, names=(CHECKPOINT, "(3,)", "1000000000", "fcn.save"))
def _(bench):
    change(bench, arguments=bench.model.arguments | {"num_classes": 10**9}, classes=None, colours=None)


@row("checkpoint-another-variant", ValueError, load, names=(CHECKPOINT, "'variant': '32s'"))
def _(bench):
    change(bench, arguments=bench.model.arguments | {"variant": "32s"})


@row("checkpoint-unknown-argument", ValueError, load, names=(CHECKPOINT, "'weights': 'imagenet'", "fcn.save"))
def _(bench):
    change(bench, arguments=bench.model.arguments | {"weights": "imagenet"})  # would start a download


@row("checkpoint-strange-names", ValueError, load, names=(CHECKPOINT, "[1, 2, 3]", "fcn.save"))
def _(bench):
    change(bench, classes=[1, 2, 3])


@row("checkpoint-strange-colours", ValueError, load, names=(CHECKPOINT, "'red'", "0..255", "fcn.save"))
def _(bench):
    change(bench, colours=[["red", "green", "blue"]] * 3)


@row("checkpoint-strange-tensors", ValueError, load, names=(CHECKPOINT, "'state'", "fcn.save"))
def _(bench):
    change(bench, state={1: torch.ones(1)})


@row("checkpoint-strange-notes", ValueError, load, names=(CHECKPOINT, "'good'", "fcn.save"))
def _(bench):
    change(bench, notes="good")


@row(
    "checkpoint-nan",
    ValueError,
    load,
    names=(CHECKPOINT, "1 of the 18", "'score.weight'", "NaN", "learning rate"),
)
def _(bench):
    with torch.no_grad():
        bench.model.score.weight[1, 2] = float("nan")
    checkpoint.write(bench.checkpoint, checkpoint.describe(bench.model))


@row(
    "checkpoint-infinite",
    ValueError,
    load,
    names=(CHECKPOINT, "1 of the 4", "'backbone.stage0.2.running_var'", "infinite", "learning rate"),
)
def _(bench):
    bench.model.backbone.stage0[2].running_var[0] = float("inf")
    checkpoint.write(bench.checkpoint, checkpoint.describe(bench.model))


def train(bench, **options):
    train_iter, _ = voc.load_data_voc(bench.folder, 2, (32, 32), num_workers=0)
    training.train(
        bench.model, train_iter, **{"epochs": 1, "device": "cpu", "precision": "float32"} | options
    )


@row("checkpoint-without-training", ValueError, names=(CHECKPOINT, "without resume"))
def _(bench):
    train(bench, checkpoint_path=bench.checkpoint, resume=True)


@row("save-changed", ValueError, names=(CHECKPOINT, "'score' is Conv2d(6, 5", "Conv2d(6, 3", "num_classes=5"))
def _(bench):
    bench.model.score = torch.nn.Conv2d(6, 5, 1)
    fcn.save(bench.model, bench.checkpoint)


@row("save-note", ValueError, names=(CHECKPOINT, "'miou'", "float64", "float(x)"))
def _(bench):
    fcn.save(bench.model, bench.checkpoint, miou=np.float64(0.5))


@row("save-compiled")
def _(bench):
    path = fcn.save(torch.nn.DataParallel(torch.compile(bench.model, backend="eager")), bench.checkpoint)
    assert fcn.load(path).classes == bench.model.classes


@row(
    "start-another-backbone",
    ValueError,
    names=("FCN on resnet18", "this one is on squeezenet1_1", "same backbone"),
)
def _(bench):
    fcn.start_from(bench.model, fcn.pretrained("emoji"))


@row("resume-shorter", ValueError, names=(CHECKPOINT, "already trained for 2 epochs", "more than that"))
def _(bench):
    train(bench, checkpoint_path=bench.checkpoint, epochs=2)
    train(bench, checkpoint_path=bench.checkpoint, epochs=1, resume=True)


# ------------------------------------------------------------------ calls


@row("train-frozen", ValueError, names=("every parameter is frozen", "fcn.freeze(model.backbone)"))
def _(bench):
    fcn.freeze(bench.model)
    train(bench)


@row("transform-image-alone", ValueError, names=("transform", "two tensors", "(3, H, W)", "got Tensor"))
def _(bench):
    voc.VOCSegDataset(bench.folder, transform=lambda image, label: image)[0]


@row("transform-another-size", ValueError, names=("transform", "(3, 24, 20)", "(24, 40)"))
def _(bench):
    voc.VOCSegDataset(bench.folder, transform=lambda image, label: (image[..., :20], label))[0]


@row("crop-zero", ValueError, names=("crop_size", "(0, 32)", "at least 1"))
def _(bench):
    voc.VOCSegDataset(bench.folder, crop_size=(0, 32))


@row("scale-zero", ValueError, names=("scale", "(0, 2)", "0 < low <= high"))
def _(bench):
    voc.VOCSegDataset(bench.folder, scale=(0, 2))


@row("predict-float-image", ValueError, names=("float32", "(3, 24, 40)", "uint8", "voc.read_image"))
def _(bench):
    prediction.predict(bench.model, bench.image / 255)


@row("predict-channels-last", ValueError, names=("(24, 40, 3)", "(3, H, W)", "voc.read_image"))
def _(bench):
    prediction.predict(bench.model, bench.image.permute(1, 2, 0))


@row("model-float-image", TypeError, names=("float32", "uint8", "divides by 255"))
def _(bench):
    bench.model(bench.image[None].float())


@row("label-another-size", ValueError, names=("(1, 24, 40)", "(1, 24, 41)"))
def _(bench):
    training.segmentation_loss(bench.model(bench.image[None]), torch.zeros(1, 24, 41, dtype=torch.uint8))


@row("label-out-of-range", ValueError, names=("index 3", "(0, 3, 0)", "0..2", "other classes"))
def _(bench):
    (bench.folder / "classes.txt").write_text("background\ncup\npen\nfork\n")
    label = np.zeros((24, 40), np.uint8)
    label[:, 7:] = 3
    mask(bench, label)
    for name in ("b", "c"):
        shutil.copy(bench.mask, bench.mask.with_name(f"{name}.png"))
    train(bench)


@row("label-negative", ValueError, names=("index -100", "(0, 0, 0)", "0..2", "other classes"))
def _(bench):
    training.segmentation_loss(torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), -100))


@row("label-float", ValueError, names=("target_transform", "float32", "uint8"))
def _(bench):
    voc.VOCSegDataset(bench.folder, target_transform=lambda label: label.float())[0]


@row("epochs-zero", ValueError, names=("epochs=0", "max_seconds=None", "above 0"))
def _(bench):
    train(bench, epochs=0)


@row("classes-above-255", ValueError, names=("num_classes", "300", "255"))
def _(bench):
    fcn.FCN("32s", 300)


@row("crop-text", ValueError, names=("crop_size", "'64x64'", "(height, width)"))
def _(bench):
    voc.VOCSegDataset(bench.folder, crop_size="64x64")


@row("crop-one-number")
def _(bench):
    assert voc.VOCSegDataset(bench.folder, crop_size=16)[0][1].shape == (16, 16)


@row("classes-a-list-of-names")
def _(bench):
    data = voc.VOCSegDataset(bench.folder, classes=["background", "a", "b"])
    assert data.classes == ("background", "a", "b") and len(list(data)) == 3


@row("predict-path-or-pil")
def _(bench):
    want = prediction.predict(bench.model, bench.image)
    with Image.open(bench.image_b) as opened:
        for image in (str(bench.image_b), opened, np.asarray(opened)):
            assert torch.equal(prediction.predict(bench.model, image), want)


@row("model-array", TypeError, names=("numpy.ndarray", "no tensor", "uint8"))
def _(bench):
    bench.model(bench.image[None].numpy())


@row("scores-of-floats", ValueError, names=("prediction", "float32", ".argmax(1)"))
def _(bench):
    metrics.confusion_matrix(torch.full((4, 4), 0.7), torch.ones(4, 4, dtype=torch.uint8), 2)


@row("mask-int64")
def _(bench):
    voc.write_mask(bench.mask, torch.zeros(24, 40, dtype=torch.int64), voc.folder_classes(bench.folder))
    read_all(bench)


@row("mask-of-scores", ValueError, names=("write_mask", "float32", "(3, 24, 40)", ".argmax(0)"))
def _(bench):
    voc.write_mask(bench.mask, torch.zeros(3, 24, 40))


@row("folder-read-only", PermissionError, names=("SET/data/x.json", "cannot be written", "D2LSEG_DATA"))
def _(bench):
    def refuse(self, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    bench.monkeypatch.setattr(Path, "mkdir", refuse)
    files.write_json(bench.folder / "data" / "x.json", {})


# ------------------------------------------------------------------ imports

EXPORT = "SET/export"


def export(bench, part):
    """Return a good export of one tool, alone in a folder."""
    bench.source = bench.folder / "export" / part
    return bench.source


def pairs(bench, make, names="ab"):
    """Write images and masks side by side; the masks are made by a function of the number."""
    source = export(bench, "pairs")
    source.mkdir()
    for i, name in enumerate(names):
        shutil.copy(bench.image_a, source / f"{name}.jpg")
        make(i).save(source / f"{name}_mask.png")
    (source / "classes.txt").write_text("background\ncup\n")


def stripes(i, values):
    return Image.fromarray(np.resize(np.array(values, np.uint8), (24, 40)))


def import_it(bench, **options):
    out = bench.folder / "imported"
    return convert.import_dataset(bench.source, out, line_width=2, **options)


def findings(bench, **options):
    return "\n".join(map(str, import_it(bench, **options).findings))


def label_a(bench):
    """Return the imported label of a."""
    return voc.read_mask(
        bench.folder / "imported/SegmentationClass/a.png", voc.folder_classes(bench.folder / "imported")
    )


@row("import-foreground-255", ValueError, import_it, names=(EXPORT, "0 and 255", "no cup", "--map 0:0 255:1"))
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 255]))


@row("import-black-on-1", ValueError, import_it, names=(EXPORT, "black on index 1", "a_mask.png", "--map"))
def _(bench):
    def make(i):
        image = stripes(i, [0, 1])
        image.putpalette([255, 0, 0, 0, 0, 0])
        return image

    pairs(bench, make)


@row(
    "import-palettes-differ",
    ValueError,
    import_it,
    names=(EXPORT, "index 0", "(0, 0, 0) in a_mask.png", "(255, 0, 0) in b_mask.png", "--map"),
)
def _(bench):
    def make(i):
        image = stripes(i, [0, 1])
        image.putpalette([0, 0, 0, 255, 0, 0] if i == 0 else [255, 0, 0, 0, 0, 0])
        return image

    pairs(bench, make)


@row("import-class-never-there")
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1, 255]))
    (bench.source / "classes.txt").write_text("background\ncup\npen\n")
    assert "never in the masks: pen, while 255, void, is" in findings(bench)


@row("import-12-bits")
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    for name in "ab":
        (bench.source / f"{name}.jpg").unlink()
        values = np.arange(960, dtype=np.uint16).reshape(24, 40) * 4
        Image.fromarray(values).save(bench.source / f"{name}.png")
    assert "12 bits used of 16" in findings(bench)


@row(
    "import-other-values",
    ValueError,
    import_it,
    names=(f"{EXPORT}/pairs/a_mask.png", "value 2", "hold 1, 2;", "--map 1:0 2:1"),
)
def _(bench):
    pairs(bench, lambda i: stripes(i, [1, 2] if i == 0 else [1]))


@row(
    "import-no-background",
    ValueError,
    import_it,
    names=(
        f"{EXPORT}/pairs/classes.txt",
        "'cat'",
        "background first",
        "--classes SET/export/pairs/classes.txt",
    ),
)
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    (bench.source / "classes.txt").write_text("cat\ncup\n")


@row("import-background-last")
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1, 2]))
    (bench.source / "classes.txt").write_text("name,r,g,b\ncup,9,9,9\nvoid,1,1,1\nbackground,0,0,0\n")
    assert "of which background becomes class 0" in import_it(bench).recognised
    assert set(label_a(bench).unique().tolist()) == {0, 1, 255}


@row(
    "import-label-studio", ValueError, import_it, names=(f"{EXPORT}/pairs/task-1-", "Label Studio", "as COCO")
)
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    for name in "ab":
        (bench.source / f"{name}_mask.png").rename(
            bench.source / f"task-1-annotation-1-by-1-tag-{name}-0.png"
        )


@row(
    "import-mask-a-class",
    ValueError,
    import_it,
    names=(f"{EXPORT}/pairs/a_cup.png and a_pen.png", "two masks of one image", "as COCO"),
)
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    for name in "ab":
        shutil.copy(bench.source / f"{name}_mask.png", bench.source / f"{name}_cup.png")
        (bench.source / f"{name}_mask.png").rename(bench.source / f"{name}_pen.png")


@row("import-exif-half-turn")
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    exif = Image.Exif()
    exif[0x0112] = 3  # by 180 degrees
    Image.open(bench.image_a).save(bench.source / "a.jpg", exif=exif)
    assert "a.jpg: turned or mirrored by EXIF" in findings(bench)


@row("import-no-classes", ValueError, import_it, names=(EXPORT, "no list of classes", "--classes"))
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    (bench.source / "classes.txt").unlink()


@row(
    "import-yaml-classes",
    ValueError,
    import_it,
    names=(f"{EXPORT}/pairs/classes.txt", "'names:'", "LabelMe, CVAT"),
)
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    (bench.source / "classes.txt").write_text("names:\n- background\n- cup\n")


@row("import-no-mask", ValueError, import_it, names=(f"{EXPORT}/pairs/c.jpg", "no mask of this name"))
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    shutil.copy(bench.image_a, bench.source / "c.jpg")


@row("import-unknown", ValueError, import_it, names=(EXPORT, "nothing that is known", "COCO", "a_mask.png"))
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]), names="")


@row("import-labelme-class-list")
def _(bench):
    (export(bench, "labelme") / "labels.txt").write_text("__ignore__\n_background_\ncup\npen\n")
    import_it(bench)
    assert voc.folder_classes(bench.folder / "imported").names == ("_background_", "cup", "pen")


@row("import-labelme-moved")
def _(bench):
    for path in export(bench, "labelme").glob("*.json"):
        path.write_text(path.read_text().replace(f"{path.stem}.jpg", f"D:\\\\photos\\\\{path.stem}.JPG"))
    assert len(voc.VOCSegDataset(import_it(bench).folder, "trainval")) == 3


@row(
    "import-labelme-no-image",
    FileNotFoundError,
    import_it,
    names=(f"{EXPORT}/labelme/a.jpg", "no such image", "a.png"),
)
def _(bench):
    (export(bench, "labelme") / "a.jpg").rename(bench.source / "a.png")


@row("import-line", ValueError, names=(f"{EXPORT}/labelme/a.json", "linestrip", "no area", "--line-width"))
def _(bench):
    for name in "bc":
        path = export(bench, "labelme") / f"{name}.json"
        path.write_text(path.read_text().replace("linestrip", "polygon"))
    convert.import_dataset(bench.source, bench.folder / "imported")


@row("import-several", convert.BadFiles, import_it, names=("2 faults", "a.json", "b.json", "UTF-8"))
def _(bench):
    (export(bench, "labelme") / "a.json").write_text("{")
    (bench.source / "b.json").write_bytes(b"\xff")


@row("import-photos-unlabelled")
def _(bench):
    shutil.copy(bench.image_a, export(bench, "labelme") / "more.jpg")
    assert "1 image left out: more.jpg" in findings(bench)


@row("import-phone-jpeg")
def _(bench):
    image = Image.new("RGB", (40, 24), "red")
    image.save(export(bench, "labelme") / "a.jpg", format="MPO", save_all=True, append_images=[image])
    assert (import_it(bench).folder / "JPEGImages/a.jpg").read_bytes() == (
        bench.source / "a.jpg"
    ).read_bytes()


@row("import-coco-box", ValueError, import_it, names=(f"{EXPORT}/coco/instances.json", "a.jpg", "only a box"))
def _(bench):
    path = export(bench, "coco") / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = []
    path.write_text(json.dumps(content))


@row(
    "import-coco-without-library", ValueError, import_it, names=(f"{EXPORT}/coco", "pip install pycocotools")
)
def _(bench):
    export(bench, "coco")
    bench.monkeypatch.setitem(sys.modules, "pycocotools.coco", None)


@row("import-cvat-colours")
def _(bench):
    export(bench, "cvat")
    import_it(bench)
    assert label_a(bench)[[4, 14, 0], [5, 5, 0]].tolist() == [1, 2, 0]


@row("import-cvat-no-images", ValueError, import_it, names=(f"{EXPORT}/cvat/JPEGImages", "no such folder"))
def _(bench):
    shutil.rmtree(export(bench, "cvat") / "JPEGImages")


@row(
    "import-jpeg-mask",
    ValueError,
    import_it,
    names=(f"{EXPORT}/pairs/a_mask.jpg", "a JPEG", "from the original"),
)
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    (bench.source / "a_mask.png").unlink()
    stripes(0, [0, 1]).save(bench.source / "a_mask.jpg")


@row(
    "import-mask-with-holes",
    ValueError,
    import_it,
    names=(f"{EXPORT}/pairs/a_mask.png", "transparent at", "(0, 0)"),
)
def _(bench):
    pairs(bench, lambda i: stripes(i, [0, 1]))
    Image.new("RGBA", (40, 24), (1, 1, 1, 0)).save(bench.source / "a_mask.png")


# ------------------------------------------------------------------ the tests, made of the rows


@pytest.mark.parametrize("name", parameters())
def test_the_user_sees_what_the_table_says(name, bench):
    check_row(ROWS[name], bench)


@pytest.mark.parametrize("name", parameters(lambda row: row.use is read_all))
def test_the_doctor_says_the_same(name, bench):
    check_doctor(ROWS[name], bench)


def test_nothing_spoilt_is_no_fault(bench):
    read_all(bench)
    load(bench)
    assert not doctor.examine(bench.folder).findings


@pytest.mark.parametrize(
    ("name", "words"),
    [("x" * 300, r"'x{40}'\.\.\."), ("a\0b", r"'a\\x00b'")],
)
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name, words):
    with pytest.raises(ValueError, match=words):
        files.read_text(tmp_path / name, "list")


def test_every_error_is_one_that_the_command_line_says_in_a_line(bench):
    for row in ROWS.values():
        assert row.error in (None, TypeError) or errors.is_user_error(row.error("x"))


def test_large_weights_whose_sum_is_infinite_are_no_fault(bench):
    with torch.no_grad():
        bench.model.score.weight.fill_(3e38)
    fcn.save(bench.model, bench.checkpoint)
    assert (fcn.load(bench.checkpoint).score.weight == 3e38).all()
