"""`voc.read_image` reads what PIL reads, with the right colours and the right way up, or says why not."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from d2lseg import voc
from d2lseg.engine import images

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (7, 10, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (7, 10), dtype=np.uint8)
ALPHA[0], ALPHA[1] = 0, 255
SIXTEEN = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def read(path):
    """Read an image as numpy has it, (H, W, 3)."""
    image = voc.read_image(path)
    assert image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] == 3 and image.is_contiguous()
    return image.permute(1, 2, 0).numpy()


def png(rows, colour_type, transparent=None):
    """Write a 16-bit PNG by hand: PIL writes neither colours nor a transparent grey of 16 bits."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    rows = np.asarray(rows, dtype=">u2")
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, colour_type, 0, 0, 0)
    key = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
    lines = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + key + lines + chunk(b"IEND", b"")


def on_white(colour, alpha):
    """Lay colours (..., 3) on white by the formula."""
    share = np.asarray(alpha)[..., None] / 255
    return colour * share + 255 * (1 - share)


# ------------------------------------------------------------------ modes


def test_plain_rgb_takes_the_short_way(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "opaque_rgb", lambda *_: pytest.fail("converted without need"))
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    assert np.array_equal(read(str(tmp_path / "photo.png")), PIXELS)


def test_the_tensor_can_be_written_to_and_shared(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    image = voc.read_image(tmp_path / "photo.png")
    image[:, 0] = 7
    assert image.clone().share_memory_()[:, 0].eq(7).all()
    assert np.array_equal(read(tmp_path / "photo.png"), PIXELS)  # and the next reading knows nothing of it


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_black_and_white_become_three_equal_channels(tmp_path, mode):
    image = Image.fromarray(PIXELS).convert(mode)
    image.save(tmp_path / "grey.png")
    grey = np.asarray(image.convert("L"))
    assert np.array_equal(read(tmp_path / "grey.png"), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_what_is_transparent_lies_on_white(tmp_path, mode, suffix):
    if mode == "LA" and suffix == "webp":
        pytest.skip("WebP has no grey")
    colour = Image.fromarray(PIXELS).convert(mode.rstrip("A"))
    image = colour.copy()
    image.putalpha(Image.fromarray(ALPHA))
    image.save(tmp_path / f"a.{suffix}", **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    got, want = read(tmp_path / f"a.{suffix}"), on_white(np.asarray(colour.convert("RGB")), ALPHA)
    assert np.abs(got - want).max() <= 0.51
    assert (got[0] == 255).all() and np.array_equal(got[1], np.asarray(colour.convert("RGB"))[1])


def test_palettes_are_looked_up(tmp_path):
    image = Image.fromarray(PIXELS).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "p.png")
    assert np.array_equal(read(tmp_path / "p.png"), np.asarray(image.convert("RGB")))


def test_palettes_with_transparent_entries_lie_on_white(tmp_path):
    image = Image.fromarray((np.arange(70) % 3).astype(np.uint8).reshape(7, 10))
    image.putpalette([200, 10, 20, 30, 180, 40, 50, 60, 220])
    image.save(tmp_path / "p.png", transparency=b"\x00\x80\xff")
    table = on_white(np.array([[200, 10, 20], [30, 180, 40], [50, 60, 220]]), [0, 128, 255])
    assert np.abs(read(tmp_path / "p.png") - table[np.asarray(image)]).max() <= 0.51
    image.save(tmp_path / "p.gif", transparency=1)
    table = np.array([[200, 10, 20], [255, 255, 255], [50, 60, 220]])
    assert np.array_equal(read(tmp_path / "p.gif"), table[np.asarray(image)])


def test_a_colour_named_transparent_becomes_white(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "rgb.png", transparency=tuple(PIXELS[2, 3].tolist()))
    want = PIXELS.copy()
    want[(PIXELS == PIXELS[2, 3]).all(axis=2)] = 255
    assert np.array_equal(read(tmp_path / "rgb.png"), want) and not np.array_equal(want, PIXELS)
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "grey.png", transparency=int(PIXELS[2, 3, 0]))
    grey = np.where(PIXELS[..., 0] == PIXELS[2, 3, 0], 255, PIXELS[..., 0])
    assert np.array_equal(read(tmp_path / "grey.png"), np.stack([grey] * 3, axis=2))


# ------------------------------------------------------------------ more than 8 bits


def sixteen_bit_files():
    """Give the same 16-bit greys in each form that PIL reads, by file name."""
    pgm = b"P5 256 256 65535\n" + SIXTEEN.astype(">u2").tobytes()
    files = {"grey.png": png(SIXTEEN, 0), "grey.pgm": pgm}
    for name, mode, dtype in (("little", "I;16", "<u2"), ("big", "I;16B", ">u2"), ("int", "I", "<i4")):
        file = io.BytesIO()
        Image.frombytes(mode, (256, 256), SIXTEEN.astype(dtype).tobytes()).save(file, format="TIFF")
        files[f"{name}.tif"] = file.getvalue()
    return files


@pytest.mark.parametrize("name", sixteen_bit_files())
def test_sixteen_bit_greys_are_scaled_to_eight(tmp_path, name):
    (tmp_path / name).write_bytes(sixteen_bit_files()[name])
    want = np.round(SIXTEEN / 257)
    got = read(tmp_path / name)
    assert all(np.array_equal(got[..., channel], want) for channel in range(3))


def test_pils_own_way_would_make_sixteen_bits_white(tmp_path):
    """The proof that the test above can fail."""
    (tmp_path / "grey.png").write_bytes(png(SIXTEEN, 0))
    naive = np.asarray(Image.open(tmp_path / "grey.png").convert("RGB"))
    assert (naive[128] == 255).all() and (read(tmp_path / "grey.png")[128] == 128).all()


def test_a_sixteen_bit_grey_named_transparent_becomes_white(tmp_path):
    (tmp_path / "grey.png").write_bytes(png(SIXTEEN, 0, transparent=1000))
    want = np.round(SIXTEEN / 257)
    want[SIXTEEN == 1000] = 255
    assert np.array_equal(read(tmp_path / "grey.png")[..., 0], want)


@pytest.mark.parametrize("colour_type", [2, 6])
def test_sixteen_bit_colours_keep_their_upper_eight(tmp_path, colour_type):
    rows = RNG.integers(0, 65536, (5, 9, 3))
    opaque = np.concatenate([rows, np.full((5, 9, 1), 65535)], axis=2)
    (tmp_path / "rgb.png").write_bytes(png(rows if colour_type == 2 else opaque, colour_type))
    assert np.abs(read(tmp_path / "rgb.png") - rows / 257).max() < 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), "float32 from 0.0 to 1.0"),
        (np.array([[0, 70000]], np.int32), "int32 from 0 to 70000"),
        (np.array([[-1, 5]], np.int32), "int32 from -1 to 5"),
    ],
)
def test_values_without_a_known_white_are_refused(tmp_path, values, words):
    Image.fromarray(values).save(tmp_path / "values.tif")
    with pytest.raises(ValueError, match=rf"values\.tif: its values are {words}; expected 8 bits .* Scale"):
        voc.read_image(tmp_path / "values.tif")


def test_a_mode_that_cannot_be_converted_is_named():
    with pytest.raises(ValueError, match=r"odd\.tif: .* La .* as RGB"):
        images.opaque_rgb(Image.new("La", (2, 2)), "odd.tif")


# ------------------------------------------------------------------ print colours


@pytest.fixture
def printed(tmp_path):
    """A JPEG of cyan, magenta, yellow and half black, as Adobe stores them: upside down, 255 is no ink."""
    inks = np.array([[(255, 0, 0, 0), (0, 255, 0, 0)], [(0, 0, 255, 0), (0, 0, 0, 128)]], np.uint8)
    blocks = inks.repeat(32, axis=0).repeat(32, axis=1)
    Image.frombytes("CMYK", (64, 64), blocks.tobytes()).save(tmp_path / "print.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "print.jpg").read_bytes()[:200]
    return tmp_path / "print.jpg"


def test_print_colours_become_screen_colours(printed):
    want = np.array([[(0, 255, 255), (255, 0, 255)], [(255, 255, 0), (127, 127, 127)]])
    assert np.abs(read(printed)[16::32, 16::32].astype(int) - want).max() <= 6


@pytest.mark.skipif(not hasattr(torchvision.io, "decode_jpeg"), reason="torchvision decodes no more")
@pytest.mark.filterwarnings("ignore:The image decoding")
def test_print_colours_are_those_of_another_decoder(printed):
    data = torch.frombuffer(bytearray(printed.read_bytes()), dtype=torch.uint8)
    other = torchvision.io.decode_jpeg(data, torchvision.io.ImageReadMode.RGB).permute(1, 2, 0)
    assert np.abs(read(printed).astype(int) - other.numpy()).max() <= 2


# ------------------------------------------------------------------ upright


STORED = {  # how each orientation stores an upright image: row 0 and column 0 of the file hold these sides
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda a: a[::-1].swapaxes(0, 1),  # left, bottom
}


def noted(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["png", "webp", "tif", "jpg", "lzw"])
def test_every_orientation_is_turned_upright(tmp_path, orientation, kind):
    upright = np.kron(PIXELS // 64 * 64, np.ones((16, 16, 1), np.uint8))  # smooth, for JPEG's sake
    path = tmp_path / f"photo.{'tif' if kind == 'lzw' else kind}"
    options = {
        "jpg": {"quality": 100, "subsampling": 0},
        "webp": {"lossless": True},
        "lzw": {"compression": "tiff_lzw"},
    }.get(kind, {})
    stored = np.ascontiguousarray(STORED[orientation](upright))
    Image.fromarray(stored).save(path, exif=noted(orientation), **options)
    got = read(path)
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).max() <= (4 if kind == "jpg" else 0)
    if not path.match("*.tif"):  # those the older versions of ImageOps turn twice
        assert np.array_equal(got, np.asarray(ImageOps.exif_transpose(Image.open(path))))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_other_modes_are_turned_too(tmp_path, mode):
    grey = Image.fromarray(SIXTEEN[:7, :10] * 300)
    image = grey if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
    image.save(tmp_path / "straight.png")
    image.save(tmp_path / "turned.png", exif=noted(6))
    assert np.array_equal(read(tmp_path / "turned.png"), np.rot90(read(tmp_path / "straight.png"), k=-1))


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, orientation):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png", exif=noted(orientation))
    assert np.array_equal(read(tmp_path / "photo.png"), PIXELS)


def test_exif_data_that_cannot_be_written_again_do_no_harm(tmp_path):
    """ImageOps.exif_transpose writes the EXIF data anew, and fails on a float where an integer belongs."""
    data = io.BytesIO()
    exif = noted(6)
    exif[0x0100] = 10  # the width, as an integer
    Image.fromarray(PIXELS).save(data, format="WEBP", lossless=True, exif=exif)
    entry = struct.pack("<HHI", 0x0100, 4, 1), struct.pack("<HHI", 0x0100, 11, 1)
    big = struct.pack(">HHI", 0x0100, 4, 1), struct.pack(">HHI", 0x0100, 11, 1)
    content = data.getvalue().replace(*entry).replace(*big)
    assert content != data.getvalue()
    (tmp_path / "photo.webp").write_bytes(content)
    assert np.array_equal(read(tmp_path / "photo.webp"), np.rot90(PIXELS, k=-1))


# ------------------------------------------------------------------ several images in a file


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif", "mpo"])
def test_the_first_of_several_images_is_read(tmp_path, suffix):
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ((200, 0, 0), (0, 0, 200)))
    first.save(tmp_path / f"many.{suffix}", save_all=True, append_images=[second])
    assert Image.open(tmp_path / f"many.{suffix}").n_frames == 2
    assert np.abs(read(tmp_path / f"many.{suffix}").astype(int) - (200, 0, 0)).max() <= 3


# ------------------------------------------------------------------ what cannot be read


def test_a_folder_is_named_as_one(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path.name}: a folder, not the image itself"):
        voc.read_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=r"pipe\.jpg: a pipe"):
        voc.read_image(tmp_path / "pipe.jpg")


def test_an_empty_file_is_named_as_one(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty\.jpg: .*0 bytes"):
        voc.read_image(tmp_path / "empty.jpg")


def test_text_with_an_images_name_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(ValueError, match=r"text\.jpg: .*format .*JPEG.*Replace"):
        voc.read_image(tmp_path / "text.jpg")


def test_a_missing_file_is_missing_wherever_the_path_breaks_off(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent.jpg", tmp_path / "absent" / "a.jpg", tmp_path / "file" / "a.jpg"):
        with pytest.raises(FileNotFoundError, match=f"{path.name}: no such image"):
            voc.read_image(path)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="Windows has no such rights")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path, user = tmp_path / "secret.png", os.geteuid()
    Image.fromarray(PIXELS).save(path)
    read(path)  # all that reading imports is imported while it may be
    path.chmod(0)
    try:
        os.seteuid(65534 if user == 0 else user)  # root may read everything
        with pytest.raises(PermissionError, match=r"secret\.png: .*chmod \+r"):
            voc.read_image(path)
    finally:
        os.seteuid(user)


def test_a_very_large_image_is_refused_and_a_large_one_is_not(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "large.png")  # 70 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.warns(Image.DecompressionBombWarning):
        assert np.array_equal(read(tmp_path / "large.png"), PIXELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)  # PIL refuses twice as many
    with pytest.raises(ValueError, match=r"large\.png: .*70 pixels.*MAX_IMAGE_PIXELS"):
        voc.read_image(tmp_path / "large.png")


def test_memory_that_runs_out_is_not_the_files_fault(tmp_path, monkeypatch):
    def full(path):
        raise MemoryError

    (tmp_path / "photo.jpg").write_bytes(ENCODED["jpg"])
    monkeypatch.setattr(Image, "open", full)
    with pytest.raises(MemoryError):
        voc.read_image(tmp_path / "photo.jpg")


def encoded(suffix):
    file = io.BytesIO()
    image = Image.fromarray(np.kron(PIXELS, np.ones((4, 4, 1), np.uint8)))
    image.save(file, format={"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()), exif=noted(6))
    return file.getvalue()


ENCODED = {suffix: encoded(suffix) for suffix in ("jpg", "png", "gif", "webp", "bmp", "tif")}


@pytest.mark.filterwarnings("ignore::UserWarning")  # PIL's, about TIFF
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, suffix):
    data = ENCODED[suffix]
    for share in (0.02, 0.3, 0.6, 0.9):
        (tmp_path / f"cut.{suffix}").write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match=rf"cut\.{suffix}: cannot be read as an image"):
            voc.read_image(tmp_path / f"cut.{suffix}")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(ENCODED)), st.data())
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path_factory, suffix, data):
    """Any bytes changed, any end cut off: PIL raises all sorts of errors, ours are one sort."""
    content = bytearray(ENCODED[suffix])
    changes = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(changes, max_size=5)):
        content[place] = value
    end = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
    path.write_bytes(content[:end])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # damage can make an image of gigabytes
        try:
            assert read(path).size > 0
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")


def test_a_broken_exif_block_is_refused(tmp_path):
    data = ENCODED["webp"]
    start = data.index(b"EXIF") + 8
    (tmp_path / "photo.webp").write_bytes(data[:start] + b"XXXX" + data[start + 4 :])
    with pytest.raises(ValueError, match=r"photo\.webp: .*\(not a TIFF file"):
        voc.read_image(tmp_path / "photo.webp")
