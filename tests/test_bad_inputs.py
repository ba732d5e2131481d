"""One test for each row of docs/bad-inputs.md: the error that the table shows is the one that is raised."""

import builtins
import os
import pickle
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from d2lseg import backbones, classes, fcn, prediction, training, voc
from d2lseg.cli import common, errors, evaluate
from d2lseg.datasets import doctor
from d2lseg.engine import checkpoint, files, losses
from tools import mutate

ROOT = Path(__file__).resolve().parent.parent
DOC = ROOT / "docs" / "bad-inputs.md"
LINKS = pytest.mark.skipif(os.name == "nt", reason="Windows lets not every user make links")


def read_all(bench):
    """Read both lists, as a training does."""
    bench.dataset(None)


def load(bench):
    fcn.load(bench.checkpoint)


@dataclass
class Row:
    """A bad input: ``spoil`` makes it, ``use`` meets it."""

    spoil: callable
    error: type | None = None
    use: callable = None
    doctor: bool = True  # whether it finds the same, where ``use`` reads a dataset
    marks: tuple = ()


ROWS = {}


def row(name, error=None, use=None, **more):
    """Add a row of the table; ``error`` is None where the input works."""

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


def agrees(shown, message, folder):
    """Tell whether a message is the one that is shown; there ``...`` stands for anything."""
    message = message.replace(f"{folder}{os.sep}", "SET/").replace(str(folder), "SET").replace(os.sep, "/")
    parts = [re.escape(part.strip()) for part in shown.replace(os.sep, "/").split("...")]
    return re.search(".*".join(parts), message, re.DOTALL) is not None


def test_the_table_and_the_tests_have_the_same_rows():
    assert set(table()) == set(ROWS)
    assert len(ROWS) >= 40


def test_a_wrong_message_would_be_found(tmp_path):
    message = f"{tmp_path / 'a.jpg'}: cut off; expected JPEG"
    assert agrees("SET/a.jpg: cut ... expected JPEG", message, tmp_path)
    assert not agrees("SET/a.jpg: cut ... expected PNG", message, tmp_path)
    assert not agrees("SET/b.jpg: cut", message, tmp_path)


def parameters(choose=lambda row: True):
    return [pytest.param(name, marks=row.marks) for name, row in ROWS.items() if choose(row)]


def see(row, bench):
    """Meet the input."""
    row.spoil(bench)
    if row.use is not None:
        row.use(bench)


def check_row(name, bench):
    row, sees = ROWS[name], table()[name]
    if row.error is None:
        assert sees.startswith("works: ")
        see(row, bench)
        return
    with pytest.raises(row.error) as caught:
        see(row, bench)
    assert type(caught.value) is row.error
    shown = re.fullmatch(r"`(.+)`", sees).group(1)
    assert agrees(shown, str(caught.value), bench.folder), f"\nshown: {shown}\nfound: {caught.value}"


def check_doctor(name, bench):
    """The doctor reports the same, as a fault, and goes on to the end."""
    ROWS[name].spoil(bench)
    report = doctor.examine(bench.folder)
    shown = re.fullmatch(r"`(.+?)(; .+)?`", table()[name]).group(1)  # its advice may know more
    assert any(agrees(shown, str(finding), bench.folder) for finding in report.faults), report.findings
    assert len(report.splits) == 2 and doctor.summary(report)


# ------------------------------------------------------------------ lists


@row("list-missing", FileNotFoundError, read_all)
def _(bench):
    (bench.lists / "train.txt").unlink()


@row("list-empty", ValueError, read_all)
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


@row("list-utf-16", ValueError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_text("a\nb\n", encoding="utf-16")


@row("list-utf-16-without-mark", ValueError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_text("a\nb\n", encoding="utf-16-le")


@row("list-latin-1", ValueError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_bytes("a\nPflügen\n".encode("latin-1"))


@row("list-a-folder", ValueError, read_all)
def _(bench):
    (bench.lists / "train.txt").unlink()
    (bench.lists / "train.txt").mkdir()


@row("list-link-loop", ValueError, read_all, marks=LINKS)
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


@row("list-no-permission", PermissionError, read_all)
def _(bench):
    forbid(bench, bench.lists / "train.txt")


@row("list-broken-disk", OSError, read_all)
def _(bench):
    real, path = os.stat, bench.lists / "train.txt"

    def broken(file, *args, **options):
        if str(file) == str(path):
            raise OSError(5, "Input/output error", str(file))
        return real(file, *args, **options)

    bench.monkeypatch.setattr(files.os, "stat", broken)


@row("id-with-folder", ValueError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_text("a\n../../other/b\n")


@row("id-with-backslash", ValueError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_text("a\n..\\b\n")


@row("id-with-drive", ValueError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_text("a\nC:b\n")


@row("id-control-character", ValueError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_text("a\n\x1b[2J\n")


@row("id-too-long", FileNotFoundError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_text("a\n" + "b" * 300 + "\n")


@row("id-with-ending", FileNotFoundError, read_all)
def _(bench):
    (bench.lists / "train.txt").write_text("a\nb.png\n")


@row("id-twice")
def _(bench):
    (bench.lists / "train.txt").write_text("a\nb\na\n")
    assert len(voc.VOCSegDataset(bench.folder)) == 3
    (fault,) = doctor.examine(bench.folder).faults
    assert "train.txt: twice on the list: a; take each off once" in str(fault)


@row("id-on-both-lists")
def _(bench):
    (bench.lists / "val.txt").write_text("d\na\n")
    assert len(voc.VOCSegDataset(bench.folder, "val")) == 2
    (fault,) = doctor.examine(bench.folder).faults
    assert "on the lists train and val: a; a score" in str(fault)


@row("folder-missing", FileNotFoundError)
def _(bench):
    common.dataset(str(bench.folder / "nowhere"))


@row("folder-no-layout", FileNotFoundError)
def _(bench):
    voc.VOCSegDataset(bench.folder / "JPEGImages")


@row("folder-no-permission", PermissionError, read_all)
def _(bench):
    real = os.listdir

    def refuse(folder="."):
        if Path(folder).name == "JPEGImages":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    bench.monkeypatch.setattr(os, "listdir", refuse)


# ------------------------------------------------------------------ images


@row("image-missing", FileNotFoundError, read_all)
def _(bench):
    bench.image_a.unlink()


@row("image-zero-bytes", ValueError, read_all)
def _(bench):
    bench.image_a.write_bytes(b"")


@row("image-cut-jpeg", ValueError, read_all)
def _(bench):
    bench.image_a.write_bytes(bench.image_a.read_bytes()[:-300])


@row("image-cut-png", ValueError, read_all)
def _(bench):
    bench.image_b.write_bytes(bench.image_b.read_bytes()[:500])


@row("image-a-text", ValueError, read_all)
def _(bench):
    bench.image_a.write_text("no picture")


@row("image-a-folder", ValueError, read_all)
def _(bench):
    bench.image_a.unlink()
    bench.image_a.mkdir()


@row("image-link-loop", ValueError, read_all, marks=LINKS)
def _(bench):
    bench.image_b.unlink()
    bench.image_b.symlink_to("b.png")


@row("image-dangling-link", FileNotFoundError, read_all, marks=LINKS)
def _(bench):
    bench.image_a.unlink()
    bench.image_a.symlink_to("gone.jpg")


@row("image-no-permission", PermissionError, read_all)
def _(bench):
    forbid(bench, bench.image_a)


@row("image-a-pipe", ValueError, read_all, marks=LINKS)
def _(bench):
    bench.image_a.unlink()
    os.mkfifo(bench.image_a)  # to open it would wait for ever


@row("image-bomb", ValueError, read_all)
def _(bench):
    Image.new("1", (20000, 20000)).save(bench.image_b, compress_level=1)  # 400 million pixels


@row("image-float", ValueError, read_all)
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
    Image.new("RGBA", (40, 24), (10, 20, 30, 0)).save(bench.image_a, "PNG")
    assert first_image(bench)[:, 12, 20].tolist() == [255, 255, 255]


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


@row("image-exif-mask-not-turned", ValueError, read_all)
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
    picture = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    picture.save(bench.mask, **{"format": "PNG"} | options)


@row("mask-missing", FileNotFoundError, read_all)
def _(bench):
    bench.mask.unlink()


@row("mask-zero-bytes", ValueError, read_all)
def _(bench):
    bench.mask.write_bytes(b"")


@row("mask-cut", ValueError, read_all)
def _(bench):
    bench.mask.write_bytes(bench.mask.read_bytes()[:-60])


@row("mask-a-folder", ValueError, read_all)
def _(bench):
    bench.mask.unlink()
    bench.mask.mkdir()


@row("mask-another-size", ValueError, read_all)
def _(bench):
    voc.write_mask(bench.mask, np.zeros((24, 41), np.uint8), voc.folder_classes(bench.folder))


@row("mask-unknown-index", ValueError, read_all)
def _(bench):
    mask(bench, np.full((24, 40), 7, np.uint8))


@row("mask-unknown-colour", ValueError, read_all)
def _(bench):
    mask(bench, np.full((24, 40, 3), 9, np.uint8))


@row("mask-another-palette", ValueError, read_all)
def _(bench):
    voc.write_mask(
        bench.mask, np.zeros((24, 40), np.uint8), classes.ClassList(("x", "y"), ((1, 1, 1), (2, 2, 2)))
    )


@row("mask-float", ValueError, read_all)
def _(bench):
    mask(bench, np.zeros((24, 40), np.float32), format="TIFF")


@row("mask-alpha", ValueError, read_all)
def _(bench):
    mask(bench, np.zeros((24, 40, 4), np.uint8))


@row("mask-16-bit", ValueError, read_all)
def _(bench):
    mask(bench, np.zeros((24, 40), np.uint16))


@row("mask-black-and-white", ValueError, read_all)
def _(bench):
    mask(bench, np.zeros((24, 40), np.uint8), "1")


@row("mask-jpeg", ValueError, read_all)
def _(bench):
    mask(bench, np.zeros((24, 40), np.uint8), format="JPEG")


@row("mask-wrong-ending", FileNotFoundError, read_all)
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
    assert losses.segmentation_loss(torch.zeros(1, 3, 24, 40), label[None]) == 0
    assert any("all void" in str(finding) for finding in doctor.examine(bench.folder).findings)


# ------------------------------------------------------------------ classes


def write_lines(bench, text):
    (bench.folder / "classes.txt").write_text(text)


@row("classes-missing", FileNotFoundError)
def _(bench):
    classes.read_classes(bench.folder / "cups.txt")


@row("classes-empty", ValueError, read_all)
def _(bench):
    write_lines(bench, "\n")


@row("classes-one", ValueError, read_all)
def _(bench):
    write_lines(bench, "background\n")


@row("classes-too-many", ValueError, read_all)
def _(bench):
    write_lines(bench, "\n".join(f"c{i}" for i in range(256)))


@row("classes-twice", ValueError, read_all)
def _(bench):
    write_lines(bench, "background\ncup\ncup\n")


@row("classes-some-colours", ValueError, read_all)
def _(bench):
    write_lines(bench, "background 0 0 0\ncup 128 0 0\npen\n")


@row("classes-colour-above-255", ValueError, read_all)
def _(bench):
    write_lines(bench, f"background 0 0 0\ncup 128 0 {'9' * 5000}\n")


@row("classes-same-colour", ValueError, read_all)
def _(bench):
    write_lines(bench, "background 0 0 0\ncup 128 0 0\npen 128 0 0\n")


@row("classes-not-utf-8", ValueError, read_all)
def _(bench):
    (bench.folder / "classes.txt").write_bytes(b"background\nb\xfccher\n")


@row("classes-no-text", ValueError, read_all)
def _(bench):
    write_lines(bench, "background\n\x00\x01\x02\n")


@row("classes-a-folder", ValueError, read_all)
def _(bench):
    (bench.folder / "classes.txt").unlink()
    (bench.folder / "classes.txt").mkdir()


@row("classes-not-the-networks", ValueError)
def _(bench):
    evaluate._check_classes(bench.model, ("background", "pen", "cup"), str(bench.checkpoint))


# ------------------------------------------------------------------ checkpoints


def change(bench, **parts):
    """Write the checkpoint anew, with other parts."""
    torch.save(torch.load(bench.checkpoint, weights_only=True) | parts, bench.checkpoint)


@row("checkpoint-missing", FileNotFoundError, load)
def _(bench):
    bench.checkpoint.unlink()


@row("checkpoint-a-folder", ValueError, load)
def _(bench):
    bench.checkpoint.unlink()
    bench.checkpoint.mkdir()


@row("checkpoint-no-permission", PermissionError, load)
def _(bench):
    forbid(bench, bench.checkpoint)


@row("checkpoint-zero-bytes", ValueError, load)
def _(bench):
    bench.checkpoint.write_bytes(b"")


@row("checkpoint-cut", ValueError, load)
def _(bench):
    bench.checkpoint.write_bytes(bench.checkpoint.read_bytes()[:-1000])


@row("checkpoint-a-text", ValueError, load)
def _(bench):
    bench.checkpoint.write_text("no checkpoint")


@row("checkpoint-flipped-bit", ValueError, load)
def _(bench):
    data = bytearray(bench.checkpoint.read_bytes())
    place = data.find(bench.model.score.weight.detach().numpy().tobytes())
    data[place + 5] ^= 1
    bench.checkpoint.write_bytes(data)
    assert torch.load(bench.checkpoint, weights_only=True), "torch alone does not notice"


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


@row("checkpoint-with-code", ValueError, load)
def _(bench):
    torch.save({"format": checkpoint.FORMAT, "notes": Evil()}, bench.checkpoint)


@row("checkpoint-plain-pickle", ValueError, load)
def _(bench):
    bench.checkpoint.write_bytes(pickle.dumps(Evil()))


@row("checkpoint-packed-bomb", ValueError, load)
def _(bench):
    with zipfile.ZipFile(bench.checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data/0", bytes(50_000_000))


@row("checkpoint-another-archive", ValueError, load)
def _(bench):
    with zipfile.ZipFile(bench.checkpoint, "w") as archive:
        archive.writestr("letter.txt", "dear reader")


@row("checkpoint-not-ours", ValueError, load)
def _(bench):
    torch.save(bench.model.state_dict(), bench.checkpoint)


@row("checkpoint-no-fcn", ValueError, load)
def _(bench):
    checkpoint.write(bench.checkpoint, checkpoint.describe(torch.nn.Linear(3, 3)))


@row("checkpoint-another-class-count", ValueError, load)
def _(bench):
    change(bench, arguments=bench.model.arguments | {"num_classes": 10**9}, classes=None, colours=None)


@row("checkpoint-another-variant", ValueError, load)
def _(bench):
    change(bench, arguments=bench.model.arguments | {"variant": "32s"})


@row("checkpoint-unknown-argument", ValueError, load)
def _(bench):
    change(bench, arguments=bench.model.arguments | {"weights": "imagenet"})  # would start a download


@row("checkpoint-strange-names", ValueError, load)
def _(bench):
    change(bench, classes=[1, 2, 3])


@row("checkpoint-strange-colours", ValueError, load)
def _(bench):
    change(bench, colours=[["red", "green", "blue"]] * 3)


@row("checkpoint-strange-tensors", ValueError, load)
def _(bench):
    change(bench, state={1: torch.ones(1)})


@row("checkpoint-strange-notes", ValueError, load)
def _(bench):
    change(bench, notes="good")


@row("checkpoint-nan", ValueError, load)
def _(bench):
    with torch.no_grad():
        bench.model.score.weight[1, 2] = float("nan")
    fcn.save(bench.model, bench.checkpoint)


@row("checkpoint-infinite", ValueError, load)
def _(bench):
    bench.model.backbone.stage0[2].running_var[0] = float("inf")
    fcn.save(bench.model, bench.checkpoint)


def train(bench, **options):
    train_iter, _ = voc.load_data_voc(bench.folder, 2, (32, 32), num_workers=0)
    training.train(
        bench.model, train_iter, **{"epochs": 1, "device": "cpu", "precision": "float32"} | options
    )


@row("checkpoint-without-training", ValueError)
def _(bench):
    train(bench, checkpoint_path=bench.checkpoint, resume=True)


# ------------------------------------------------------------------ calls


@row("crop-zero", ValueError)
def _(bench):
    voc.VOCSegDataset(bench.folder, crop_size=(0, 32))


@row("scale-zero", ValueError)
def _(bench):
    voc.VOCSegDataset(bench.folder, scale=(0, 2))


@row("predict-float-image", ValueError)
def _(bench):
    prediction.predict(bench.model, bench.image / 255)


@row("predict-channels-last", ValueError)
def _(bench):
    prediction.predict(bench.model, bench.image.permute(1, 2, 0))


@row("model-float-image", TypeError)
def _(bench):
    bench.model(bench.image[None].float())


@row("label-another-size", ValueError)
def _(bench):
    bench.model(bench.image[None], torch.zeros(1, 24, 41, dtype=torch.uint8))


@row("label-out-of-range", ValueError)
def _(bench):
    (bench.folder / "classes.txt").write_text("background\ncup\npen\nfork\n")
    label = np.zeros((24, 40), np.uint8)
    label[:, 7:] = 3
    mask(bench, label)
    for name in ("b", "c"):
        shutil.copy(bench.mask, bench.mask.with_name(f"{name}.png"))
    train(bench)


@row("label-negative", ValueError)
def _(bench):
    losses.segmentation_loss(torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), -100))


@row("label-float", ValueError)
def _(bench):
    voc.VOCSegDataset(bench.folder, target_transform=lambda label: label.float())[0]


@row("epochs-zero", ValueError)
def _(bench):
    train(bench, epochs=0)


@row("classes-above-255", ValueError)
def _(bench):
    fcn.FCN("32s", 300)


# ------------------------------------------------------------------ the tests, made of the rows


@pytest.mark.parametrize("name", parameters())
def test_the_user_sees_what_the_table_says(name, bench):
    check_row(name, bench)


@pytest.mark.parametrize("name", parameters(lambda row: row.use is read_all and row.doctor))
def test_the_doctor_says_the_same(name, bench):
    check_doctor(name, bench)


def test_nothing_spoilt_is_no_fault(bench):
    read_all(bench)
    load(bench)
    assert not doctor.examine(bench.folder).findings


@pytest.mark.parametrize(
    ("name", "words"),
    [("x" * 300, r"'x{40}'\.\.\.: not a possible file name"), ("a\0b", r"'a\\x00b'\.\.\.: not")],
)
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name, words):
    with pytest.raises(ValueError, match=words):
        files.read_text(tmp_path / name, "list")


def test_every_error_is_one_that_the_command_line_says_in_a_line(bench):
    for row in ROWS.values():
        assert row.error in (None, TypeError) or errors.can_be_mended(row.error("x"))


def test_large_weights_whose_sum_is_infinite_are_no_fault(bench):
    with torch.no_grad():
        bench.model.score.weight.fill_(3e38)
    fcn.save(bench.model, bench.checkpoint)
    assert (fcn.load(bench.checkpoint).score.weight == 3e38).all()
