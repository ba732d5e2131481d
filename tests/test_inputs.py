"""Calls take what people mean: a path, a PIL image, an array, a list of names, one number for a crop."""

import errno
import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from voc_layout import make_folder

from d2lseg import classes, emojivoc, fcn, prediction, voc
from d2lseg.datasets import doctor
from d2lseg.engine import files, images
from d2lseg.engine.images import as_indices, as_rgb, oddities

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 33, 3), dtype=np.uint8)


class Brightness(nn.Module):
    """Score two classes by the mean of the channels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images):
        grey = self.weight * images.float().mean(1, keepdim=True)
        return torch.cat([128 - grey, grey - 128], 1)


@pytest.fixture
def path(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_predict_takes_every_form_of_an_image(path):
    model, want = Brightness(), torch.from_numpy(PIXELS.mean(2) > 128).to(torch.uint8)
    chw = torch.from_numpy(PIXELS).permute(2, 0, 1).contiguous()
    for image in (path, str(path), Image.open(path), PIXELS, chw, chw.numpy()):
        assert torch.equal(prediction.predict(model, image), want), type(image)
        assert torch.equal(prediction.predict_tiled(model, image), want)
        assert prediction.tiled_logits(model, image).shape == (2, 24, 33)


def test_grey_and_transparent_arrays_and_turned_images_are_read_as_files_are(tmp_path):
    assert torch.equal(as_rgb(PIXELS[..., 0])[2], torch.from_numpy(PIXELS[..., 0]))
    rgba = np.dstack([PIXELS, np.full((24, 33), 255, np.uint8)])
    assert torch.equal(as_rgb(rgba), as_rgb(PIXELS))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "t.jpg", exif=turned.tobytes())
    assert torch.equal(as_rgb(Image.open(tmp_path / "t.jpg")), voc.read_image(tmp_path / "t.jpg"))


@pytest.mark.parametrize(
    "image",
    [
        torch.rand(3, 4, 4),
        torch.zeros(4, 5, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(3, 0, 4, dtype=torch.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 7), np.uint8),
        None,
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(image):
    with pytest.raises(ValueError, match="expected one uint8 RGB image"):
        as_rgb(image)


def test_an_array_in_the_model_gets_a_sentence_that_says_what_is_missing():
    with pytest.raises(TypeError, match=r"uint8 pixels .*numpy\.ndarray.* no tensor"):
        fcn.FCN32s(2)(np.zeros((1, 3, 4, 4), np.uint8))


def test_an_image_or_an_open_file_may_be_read(path):
    want = voc.read_image(path)
    with path.open("rb") as file:
        assert torch.equal(voc.read_image(file), want)
    assert torch.equal(voc.read_image(Image.open(path)), want)


def test_a_list_of_names_goes_wherever_a_class_list_goes(tmp_path):
    make_folder(tmp_path)
    names = [f"thing {i}" for i in range(21)]
    assert doctor.examine(tmp_path, names).classes.names == tuple(names)
    path = classes.write_classes(tmp_path / "classes.txt", names)
    assert classes.read_classes(path).names == tuple(names)


def test_one_number_is_a_square_crop_and_a_list_of_names_is_a_class_list(tmp_path):
    make_folder(tmp_path)
    data = voc.VOCSegDataset(tmp_path, crop_size=16, classes=list(voc.VOC_CLASSES))
    assert voc.VOCSegDataset(tmp_path, crop_size=np.int64(8)).crop_size == (8, 8)
    assert data[0][1].shape == (16, 16) and data.classes == voc.VOC_CLASSES
    names = [f"thing {i}" for i in range(21)]
    loaders = voc.load_data_voc(tmp_path, 2, 16, num_workers=0, classes=names)
    assert loaders[1].dataset.class_list.names == tuple(names)
    mask = data.paths(data.ids[0])[1]
    assert torch.equal(voc.read_mask(mask, names), voc.read_mask(mask))


@pytest.mark.parametrize("size", ["64x64", (16,), (0, 4), 0, (16.5, 16)])
def test_what_is_no_crop_is_named(tmp_path, size):
    make_folder(tmp_path)
    with pytest.raises(ValueError, match=r"crop_size is .*expected \(height, width\)"):
        voc.VOCSegDataset(tmp_path, crop_size=size)


def test_a_mask_of_any_integer_dtype_is_written(tmp_path):
    label = torch.tensor([[0, 1], [255, 2]])
    for dtype in (torch.int64, torch.int32, torch.uint8):
        voc.write_mask(tmp_path / "m.png", label.to(dtype), ["background", "cup", "pen"])
        assert torch.equal(voc.read_mask(tmp_path / "m.png"), label.to(torch.uint8))
    voc.write_mask(tmp_path / "m.png", label > 0)
    assert voc.read_mask(tmp_path / "m.png").tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (torch.zeros(3, 4, 4), r"torch|float32 \(3, 4, 4\); scores .* \.argmax\(0\)"),
        (torch.zeros(4, 4), "float32"),
        (torch.zeros(1, 4, 4, dtype=torch.uint8), r"\(1, 4, 4\)"),
        (np.array([[300]]), "indices from 300 to 300"),
        (np.array([[-1]]), "indices from -1 to -1"),
    ],
)
def test_a_label_that_cannot_be_written_is_explained(label, words):
    with pytest.raises(ValueError, match=words):
        as_indices(label, "write_mask")


def test_an_array_is_painted_as_a_tensor_is():
    label = np.array([[0, 1], [255, 2]])
    assert torch.equal(voc.label2image(label), voc.label2image(torch.from_numpy(label)))


def test_the_home_folder_has_its_short_name_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    make_folder(tmp_path / "set")
    (tmp_path / "set" / "classes.txt").write_text("\n".join(f"c{i}" for i in range(21)))
    data = voc.VOCSegDataset("~/set")
    assert len(data) == 5 and data.classes[1] == "c1"
    assert voc.read_image(f"~/set/JPEGImages/{data.ids[0]}.jpg").shape[0] == 3
    voc.write_mask("~/m.png", np.zeros((2, 2), np.uint8))
    assert voc.read_mask("~/m.png").shape == (2, 2)
    fcn.save(fcn.FCN32s(2), "~/model.pt")
    assert fcn.load("~/model.pt").arguments["num_classes"] == 2
    assert classes.write_classes("~/names.txt", ["a", "b"]) == tmp_path / "names.txt"
    files.write_csv("~/rows.csv", [{"a": 1}])
    assert files.read_csv("~/rows.csv") == [{"a": "1"}]
    assert emojivoc.prepare("~/drawn", n_train=1, n_val=1).parent == tmp_path / "drawn"
    torch.save(fcn.FCN32s(2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(RuntimeError, match="not the weights of ResNet-18"):  # found, and read
        fcn.FCN32s(2, weights="~/other.pth")
    assert not os.path.exists("~")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(tmp_path, monkeypatch, code):
    def refuse(self, *arguments, **options):
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(files.Path, "mkdir", refuse)
    for write in (
        lambda: files.write_json(tmp_path / "x" / "a.json", {}),
        lambda: emojivoc.prepare(tmp_path, n_train=1, n_val=1),
        lambda: fcn.save(fcn.FCN32s(2), tmp_path / "x" / "model.pt"),
    ):
        with pytest.raises(PermissionError, match=r"cannot be written here .*D2LSEG_DATA"):
            write()


# --- files that are not what their headers say --------------------------------------------------------------


def tiff(path, array, extra):
    """Write a TIFF of any number of channels; `extra` is the tag ExtraSamples of each beyond three."""
    height, width, channels = array.shape
    bits = 8 * array.itemsize
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [1])]
    tags += [(262, 3, [2]), (273, 4, [0]), (277, 3, [channels]), (278, 4, [height])]
    tags += [(279, 4, [array.nbytes]), (284, 3, [1]), (338, 3, [extra] * (channels - 3))]
    start = 8 + 2 + 12 * len(tags) + 4
    entries, tail = b"", b""
    for number, kind, values in tags:
        data = b"".join(value.to_bytes(2 if kind == 3 else 4, "little") for value in values)
        if number == 273:
            data = b"STRT"  # replaced below, when the length of the rest is known
        if len(data) > 4:
            place, tail = (start + len(tail)).to_bytes(4, "little"), tail + data
        else:
            place = data.ljust(4, b"\0")
        head = number.to_bytes(2, "little") + kind.to_bytes(2, "little")
        entries += head + len(values).to_bytes(4, "little") + place
    entries = entries.replace(b"STRT", (start + len(tail)).to_bytes(4, "little"))
    head = b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little")
    path.write_bytes(head + entries + bytes(4) + tail + array.tobytes())
    return path


FOUR = RNG.integers(0, 256, (40, 50, 4), dtype=np.uint8)


def test_a_fourth_channel_that_cannot_be_transparency_is_refused(tmp_path):
    for name, channel in {"noise": FOUR[..., 3], "none": np.zeros((40, 50), np.uint8)}.items():
        array = np.dstack([FOUR[..., :3], channel])
        with pytest.raises(ValueError, match=rf"{name}\.tif: its last channel, .* red, green and blue alone"):
            voc.read_image(tiff(tmp_path / f"{name}.tif", array, 2))
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        with pytest.raises(ValueError, match="its last channel"):
            voc.read_image(tmp_path / f"{name}.png")


def test_transparency_as_it_should_be_is_laid_on_white(tmp_path):
    alpha = np.full((40, 50), 255, np.uint8)
    alpha[:10], alpha[10] = 0, np.arange(50) * 5
    Image.fromarray(np.dstack([FOUR[..., :3], alpha])).save(tmp_path / "a.png")
    image = voc.read_image(tmp_path / "a.png").permute(1, 2, 0).numpy()
    assert (image[:10] == 255).all() and np.array_equal(image[11:], FOUR[11:, :, :3])


def test_what_is_not_as_the_header_says_is_told(tmp_path):
    values = RNG.integers(0, 4096, (40, 50)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "twelve.png")
    assert "12 bits used of 16" in oddities(tmp_path / "twelve.png")[0][0]
    Image.fromarray(values * 16).save(tmp_path / "sixteen.png")
    assert oddities(tmp_path / "sixteen.png") == []
    assert "4 channels, of which 3 are read" in oddities(tiff(tmp_path / "four.tif", FOUR, 0))[0][0]
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    assert "several frames or pages" in oddities(tmp_path / "two.tif")[0][0]
    frames[0].save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=frames[1:])
    Image.fromarray(PIXELS).save(tmp_path / "plain.png")
    assert oddities(tmp_path / "phone.jpg") == oddities(tmp_path / "plain.png") == []


def test_unused_bits_of_colours_are_found_too(tmp_path):
    deep = RNG.integers(0, 1024, (8, 9, 3)).astype("<u2")
    path = tiff(tmp_path / "deep.tif", deep, 0)
    try:
        with images.open_image(path) as image:
            assert image.mode == "RGB"
    except ValueError:
        pytest.skip("this Pillow does not read 16-bit colours")
    assert "10 bits used of 16" in oddities(path)[0][0]
