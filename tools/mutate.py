"""Damage valid files at random and test how the module responds.

``python -m tools.mutate --count 5000 --seed 1`` prints how the cases ended. A case is determined by its
number. It damages one file of a small valid dataset, export or checkpoint, and passes it to its readers:
`VOCSegDataset`, `doctor`, `fcn.load`, `prediction.predict` or the importer. Each of them must return a
result, or raise a ValueError, FileNotFoundError or PermissionError that names a file. Anything else is a
surprise, and so is a case that uses gigabytes of memory. ``python -m tools.mutate --only CASE`` repeats a
case.

The cases run in a separate process, so that a hang or a crash is noticed and the remaining cases still run.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import shutil
import struct
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from d2lseg import backbones, fcn, prediction, voc
from d2lseg.datasets import convert, doctor
from tools import machine

LIMIT = 10.0  # seconds of CPU time allowed per reader; several times that on the clock is a hang
MEMORY = 2**31  # bytes that a case may use beyond what was in use before
NAMED = (ValueError, convert.BadFiles, FileNotFoundError, PermissionError)
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# The tiny backbone goes by the name of a network that torchvision knows and builds quickly; see
# `add_tiny_backbone`.
TINY = "squeezenet1_1"
ODD_LINES = (
    "", " ", "../up", "..", ".", "/etc/hosts", "a/b", "a\\b", "C:x", "x" * 300, "x" * 70000, "b 1", "a.jpg",
    "A", "\u0000", "a\u0000b", "\ufeff", "\u202e", "é", "e\u0301", "\x1b[2J", "road 1 2 3", "road 1 2 999",
    "1 2 3 4", "1 2 3", "a 1 2 " + "9" * 5000, "a \u0661 \u0662 \u0663", "-1", "nan", "\u2028", "background",
    "#", "d", " " * 5000 + "x" + " " * 5000 + "1 2 3",
)  # fmt: skip


# ------------------------------------------------------------------ damage


def _span(rng: random.Random, size: int) -> slice:
    """Choose a part of the file, usually a short one."""
    start = rng.randrange(size + 1)
    return slice(start, min(size, start + int(2 ** rng.uniform(0, 10))))


def flip_bits(rng: random.Random, data: bytearray) -> None:
    """Flip one to twenty bits."""
    for _ in range(rng.randint(1, 20)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def delete(rng: random.Random, data: bytearray) -> None:
    """Remove a part."""
    del data[_span(rng, len(data))]


def insert(rng: random.Random, data: bytearray) -> None:
    """Insert random bytes, or a copy of a part of the file."""
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.choice([rng.randbytes(rng.randint(1, 100)), bytes(data[_span(rng, len(data))])])


def truncate(rng: random.Random, data: bytearray) -> None:
    """Cut off the end."""
    del data[rng.randrange(len(data) + 1) :]


def swap(rng: random.Random, data: bytearray) -> None:
    """Swap two blocks."""
    a, b, size = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1), rng.choice([4, 64, 512])
    one, two = bytes(data[a : a + size]), bytes(data[b : b + size])
    if len(one) == len(two):
        data[a : a + size], data[b : b + size] = two, one


def zero(rng: random.Random, data: bytearray) -> None:
    """Overwrite a part with zeros, as a disk with a lost sector would return it."""
    part = _span(rng, len(data))
    data[part] = bytes(part.stop - part.start)


def edit_header(rng: random.Random, data: bytearray) -> None:
    """Write an extreme number into the first bytes, where sizes are stored."""
    code = rng.choice(["<B", "<H", ">H", "<I", ">I"])
    limit = 256 ** struct.calcsize(code)
    number = struct.pack(code, rng.choice([n for n in EXTREMES if n < limit]))
    place = rng.randrange(min(len(data), 64) + 1)
    data[place : place + len(number)] = number


OPERATIONS = (flip_bits, delete, insert, truncate, swap, zero, edit_header)


def damage(rng: random.Random, content: bytes) -> bytes:
    """Return the content of a file, damaged in one to three ways."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        rng.choice(OPERATIONS)(rng, data)
    return bytes(data)


def damage_png(rng: random.Random, content: bytes) -> bytes:
    """Damage a chunk of a PNG and fix its checksum, so that a reader trusts it."""
    chunks, place = [], 8
    while place < len(content):
        (size,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += size + 12
    at = rng.randrange(len(chunks))
    name, body = chunks[at]
    what = rng.randrange(4)
    if what == 0:
        chunks[at] = (name, damage(rng, body))
    elif what == 1:
        chunks[0] = (b"IHDR", _header(rng, chunks[0][1]))
    elif what == 2:
        chunks.pop(at) if rng.random() < 0.5 else rng.shuffle(chunks)
    else:
        kind = rng.choice([b"tRNS", b"eXIf", b"acTL", b"fcTL", b"PLTE", b"zTXt", b"iCCP", b"gAMA", name])
        chunks.insert(rng.randrange(len(chunks) + 1), (kind, rng.randbytes(rng.randrange(60))))
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return content[:8] + b"".join(parts)


def _header(rng: random.Random, body: bytes) -> bytes:
    """Change the size, bit depth or colour type of a PNG."""
    values = list(struct.unpack(">IIBBBBB", body))
    place = rng.randrange(7)
    values[place] = rng.choice([*EXTREMES, 13000, 20]) if place < 2 else rng.randrange(20)
    return struct.pack(">IIBBBBB", *values)


def damage_jpeg(rng: random.Random, content: bytes) -> bytes:
    """Change the size in the header of a JPEG, or insert broken EXIF data."""
    data, frame = bytearray(content), content.find(b"\xff\xc0")
    if rng.random() < 0.5:
        struct.pack_into(">HH", data, frame + 5, *rng.choices([0, 1, 24, 33, 2000, 65535], k=2))
    else:
        tiff = b"II*\0\x08\0\0\0" if rng.random() < 0.5 else rng.randbytes(8)
        body = b"Exif\0\0" + tiff + struct.pack("<HHHII", 1, 274, 3, 1, rng.randrange(12)) + rng.randbytes(9)
        data[2:2] = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    return bytes(data)


def damage_text(rng: random.Random, content: bytes) -> bytes:
    """Edit the lines of a text file, or its encoding."""
    lines = content.decode().splitlines()
    for _ in range(rng.randint(1, 3)):
        at, what = rng.randrange(len(lines) + 1), rng.randrange(4)
        if what == 0:
            lines.insert(at, rng.choice(ODD_LINES))
        elif what == 1 and lines:
            lines.insert(at, rng.choice(lines))
        elif what == 2:
            del lines[at : at + rng.randint(1, 3)]
        else:
            lines[at : at + 1] = [line + rng.choice(ODD_LINES) for line in lines[at : at + 1]]
    text = rng.choice(["\n", "\r\n", "\r", "\n\n", "\t", "\0"]).join(lines)
    return text.encode(rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32-le"]))


def damage_json(rng: random.Random, content: bytes) -> bytes:
    """Replace, remove or repeat one value somewhere in a JSON file."""
    whole = json.loads(content)
    odd = [
        None,
        True,
        -1,
        0,
        2.5,
        1e300,
        10**30,
        "",
        "x",
        "../up",
        "a.jpg",
        "\0",
        [],
        {},
        [[]],
        [1, 2],
        {"a": 1},
    ]
    for _ in range(rng.randint(1, 2)):
        box = whole
        while True:
            keys = list(box) if isinstance(box, dict) else list(range(len(box)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(box[key], (dict, list)) and rng.random() < 0.85:
                box = box[key]
                continue
            what = rng.randrange(4)
            if what == 0:
                del box[key]
            elif what == 1 and isinstance(box, list):
                box.insert(key, box[rng.randrange(len(box))])
            else:
                box[key] = rng.choice(odd)
            break
    return json.dumps(whole).encode()


def damage_archive(rng: random.Random, content: bytes) -> bytes:
    """Damage a part of a checkpoint's archive, and write the archive again with correct checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    names = list(parts)
    name = rng.choice([names[0], rng.choice(names)])  # the first one is the pickle
    what = rng.randrange(4)
    if what < 2:
        parts[name] = damage(rng, parts[name])
    elif what == 2:
        parts[rng.choice([name + "x", "x", "../x", "other/data/0"])] = parts.pop(name)
    else:
        del parts[name]
    out, method = io.BytesIO(), rng.choice([zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(out, "w", method) as archive:
        for part, body in parts.items():
            archive.writestr(part, body)
    return out.getvalue()


def damage_content(rng: random.Random, content: bytes) -> bytes:
    """Write a checkpoint that torch can load, but whose content is wrong."""
    whole = torch.load(io.BytesIO(content), weights_only=True)
    odd = rng.choice(
        [
            *(None, -1, 0, 2.5, 10**9, 2**70, "x", "", [], {}, (), True, b"x", [1, 2], {"a": 1}, [[0]] * 3),
            *(torch.ones(3), torch.tensor(float("nan")), torch.ones(1).expand(10**9)),
        ]
    )
    place = rng.choice(["top", "arguments", "state", "state"])
    box = whole if place == "top" else whole[place]
    key = rng.choice(list(box))
    what = rng.randrange(4)
    if what == 0:
        del box[key]
    elif what == 1:
        box[rng.choice([key + "x", 1, "weights"])] = odd
    elif what == 2 and place == "state":
        box[key] = _other(rng, box[key])
    else:
        box[key] = odd
    out = io.BytesIO()
    torch.save(whole, out)
    return out.getvalue()


def _other(rng: random.Random, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of another kind to replace a valid one."""
    makers = [
        lambda: torch.full_like(tensor, rng.choice([float("nan"), float("inf"), 1e30]), dtype=torch.float32),
        lambda: tensor.to(
            rng.choice([torch.float64, torch.int8, torch.bool, torch.complex64, torch.float16])
        ),
        lambda: tensor.reshape(-1)[:-1],
        lambda: tensor[None],
        lambda: torch.empty(0),
        lambda: tensor.to_sparse(),
        lambda: torch.empty(tensor.shape, device="meta"),
    ]
    return rng.choice(makers)()


# ------------------------------------------------------------------ damaged files and their readers


def _tiny_stages() -> OrderedDict[str, nn.Module]:
    """Make a backbone of a few hundred parameters, whose checkpoint is read in a millisecond."""
    stages = OrderedDict()
    for i, (before, after, shrink) in enumerate([(3, 4, 8), (4, 4, 2), (4, 6, 2)]):
        layers = (
            nn.Conv2d(before, after, 3, padding=1),
            nn.MaxPool2d(shrink),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        )
        stages[f"stage{i}"] = nn.Sequential(*layers)
    return stages


def add_tiny_backbone() -> None:
    """Register a tiny backbone, because a real one takes 45 MB, too much to damage often."""
    backbones.BACKBONES[TINY] = backbones.Design(
        title="a tiny backbone",
        network=nn.Module,
        imagenet=lambda: Path("none"),
        stages=lambda network: _tiny_stages(),
        taps=("stage0", "stage1", "stage2"),
        channels=(4, 4, 6),
        looks_at=1 / 2,
        batch_norm=True,
        head=(),
    )


class Bench:
    """A small valid dataset and a checkpoint in a folder, and the readers of their files."""

    def __init__(self, folder: Path) -> None:
        add_tiny_backbone()
        torch.manual_seed(0)
        self.folder, self.checkpoint = folder, folder / "model.pt"
        for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "classes.txt").write_text("background 0 0 0\ncup 128 0 0\npen 0 128 0\n")
        table, draw = voc.folder_classes(folder), np.random.default_rng(0)
        for split, names in {"train": ["a", "b", "c"], "val": ["d", "e"]}.items():
            for name in names:
                pixels = draw.integers(0, 256, (24, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"JPEGImages/{name}.{'png' if name == 'b' else 'jpg'}")
                label = draw.choice([0, 0, 1, 2, 255], (24, 40)).astype(np.uint8)
                voc.write_mask(folder / f"SegmentationClass/{name}.png", label, table)
            (folder / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
        self.model = fcn.FCN8s(3, backbone=TINY, classes=table).eval()
        fcn.save(self.model, self.checkpoint, note="good")
        self.image = voc.read_image(folder / "JPEGImages/b.png")
        self._export(draw)
        self.readers = {
            "dataset": self.dataset,
            "doctor": self.doctor,
            "predict": self.predict,
            "load": self.load,
            "import": self.importer,
        }

    def _export(self, draw: np.random.Generator) -> None:
        """Write small valid exports of LabelMe, COCO and CVAT."""
        for part in ("labelme", "coco", "cvat/JPEGImages", "cvat/SegmentationClass"):
            (self.folder / "export" / part).mkdir(parents=True, exist_ok=True)
        corners = [[2.5, 3], [30, 4.5], [12, 20]]
        shapes = [
            {"label": "cup", "points": corners, "shape_type": "polygon", "group_id": 1},
            {"label": "pen", "points": corners[:2], "shape_type": "rectangle", "group_id": None},
            {"label": "cup", "points": corners, "shape_type": "linestrip"},
        ]
        mask = {"counts": [100, 300, 560], "size": [24, 40]}
        for name in "abc":
            image = Image.fromarray(draw.integers(0, 256, (24, 40, 3), dtype=np.uint8))
            for part in ("labelme", "coco", "cvat/JPEGImages"):
                image.save(self.folder / f"export/{part}/{name}.jpg")
            mask_pixels = np.zeros((24, 40, 3), np.uint8)
            mask_pixels[3:9, 4:20], mask_pixels[12:] = (9, 8, 7), (48, 112, 32)
            Image.fromarray(mask_pixels).save(self.folder / f"export/cvat/SegmentationClass/{name}.png")
            content = {"shapes": shapes, "imagePath": f"{name}.jpg", "imageHeight": 24, "imageWidth": 40}
            (self.folder / f"export/labelme/{name}.json").write_text(json.dumps(content))
        flat = [value for corner in corners for value in corner]
        coco = {
            "images": [
                {"id": i, "file_name": f"{name}.jpg", "height": 24, "width": 40}
                for i, name in enumerate("abc")
            ],
            "annotations": [
                {"id": 2 * i + k, "image_id": i, "category_id": 1 + k, "segmentation": shape, "iscrowd": k}
                for i in range(3)
                for k, shape in enumerate([[flat], mask])
            ],
            "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "pen"}],
        }
        (self.folder / "export/coco/instances.json").write_text(json.dumps(coco))
        text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncup:9,8,7::\npen:48,112,32::\n"
        (self.folder / "export/cvat/labelmap.txt").write_text(text)

    def importer(self, path: Path) -> None:
        """Import the export that a file belongs to."""
        source = next(
            self.folder / "export" / part for part in ("labelme", "coco", "cvat") if part in str(path)
        )
        out = self.folder / "imported"
        try:
            convert.import_dataset(source, out, line_width=2)
            voc.VOCSegDataset(out, "trainval")[0]
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def dataset(self, path: Path) -> None:
        """Read all pairs, as a training run does."""
        for split in ("train", "val"):
            data = voc.VOCSegDataset(self.folder, split, crop_size=(16, 16), flip=True)
            for index in range(len(data)):
                data[index]

    def doctor(self, path: Path) -> None:
        """Examine the dataset."""
        doctor.summary(doctor.examine(self.folder))

    def predict(self, path: Path) -> None:
        """Predict one image, in tiles if it is large."""
        image = voc.read_image(path)
        large = image[0].numel() > 10**6
        (prediction.predict_tiled if large else prediction.predict)(self.model, image)

    def load(self, path: Path) -> None:
        """Load the checkpoint and use it."""
        prediction.predict(fcn.load(path), self.image)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Parameters
    ----------
    path : str
        The file to damage.
    ways : tuple of callable
        Ways to damage it; each takes a random generator and the valid content.
    users : tuple of str
        The methods of `Bench` that read it.
    """

    path: str
    ways: tuple[Callable[[random.Random, bytes], bytes], ...]
    users: tuple[str, ...]


KINDS = {
    "JPEG": Kind("JPEGImages/a.jpg", (damage, damage_jpeg), ("dataset", "doctor", "predict")),
    "PNG": Kind("JPEGImages/b.png", (damage, damage_png), ("dataset", "doctor", "predict")),
    "mask": Kind("SegmentationClass/a.png", (damage, damage_png), ("dataset", "doctor")),
    "list": Kind("ImageSets/Segmentation/train.txt", (damage, damage_text), ("dataset", "doctor")),
    "classes": Kind("classes.txt", (damage, damage_text), ("dataset", "doctor")),
    "checkpoint": Kind("model.pt", (damage, damage_archive, damage_content), ("load",)),
    "LabelMe": Kind("export/labelme/a.json", (damage, damage_json, damage_json), ("import",)),
    "COCO": Kind("export/coco/instances.json", (damage, damage_json, damage_json), ("import",)),
    "labelmap": Kind("export/cvat/labelmap.txt", (damage, damage_text), ("import",)),
    "painted mask": Kind("export/cvat/SegmentationClass/a.png", (damage, damage_png), ("import",)),
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one case with one reader.

    Parameters
    ----------
    seed : int
        Number of the case.
    kind, user : str
        The damaged file and its reader.
    result : str
        ``"result"``, the name of an error, ``"hang"`` or ``"crash"``.
    surprise : str
        Why this outcome is not acceptable; empty if it is.
    seconds : float
        CPU time.
    """

    seed: int
    kind: str
    user: str
    result: str
    surprise: str = ""
    seconds: float = 0.0


def case(bench: Bench, seed: int) -> Iterator[Outcome]:
    """Damage one file, pass it to its readers, and restore it.

    Yields
    ------
    Outcome
        One for each reader.
    """
    rng, name = random.Random(seed), list(KINDS)[seed % len(KINDS)]
    kind = KINDS[name]
    path = bench.folder / kind.path
    good = path.read_bytes()
    path.write_bytes(rng.choice(kind.ways)(rng, good))
    try:
        for user in kind.users:
            started = time.process_time()  # not affected by other programs
            result, surprise = _try(bench.readers[user], path)
            seconds = time.process_time() - started
            if seconds > LIMIT:
                surprise = surprise or f"took {seconds:.0f} s"
            yield Outcome(seed, name, user, result, surprise, seconds)
    finally:
        path.write_bytes(good)


def _try(use: Callable[[Path], None], path: Path) -> tuple[str, str]:
    """Return how a reader ended, and what is wrong with that, if anything."""
    try:
        use(path)
    except Exception as error:
        result = type(error).__name__
        if type(error) not in NAMED:
            return result, "".join(traceback.format_exception(error)[-6:])
        parts = (path.name, "JPEGImages", "SegmentationClass", "ImageSets", path.parent.name)
        return result, "" if any(part in str(error) for part in parts) else f"names no file: {error}"
    return "result", ""


# ------------------------------------------------------------------ running many cases


def _work(seeds: Sequence[int], pipe: Connection, memory: int) -> None:
    """Run cases; the body of the separate process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # PIL and torch warn about damaged files; only the outcome matters
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for user in ("dataset", "doctor", "load"):
            bench.readers[user](bench.checkpoint)  # valid files must pass; this also imports everything
        pipe.send(None)
        used = machine.peak_memory()
        for seed in seeds:
            outcomes = list(case(bench, seed))
            before, used = used, machine.peak_memory()
            if used - before > memory:
                words = f"used {(used - before) / 2**30:.1f} GiB"
                outcomes = [replace(outcome, surprise=outcome.surprise or words) for outcome in outcomes]
            pipe.send((seed, outcomes))


def run(
    seeds: Sequence[int], memory: int = MEMORY, work: Callable[..., Any] = _work, method: str = "spawn"
) -> Iterator[Outcome]:
    """Run cases in a process that is replaced if it hangs or crashes.

    Parameters
    ----------
    seeds : sequence of int
        Numbers of the cases.
    memory : int
        Bytes that each case may use.
    work : callable
        Body of the process; tests replace it.
    method : str
        How the process is started, see `multiprocessing.get_context`.

    Yields
    ------
    Outcome
        In the order of the seeds.

    Raises
    ------
    RuntimeError
        If the process cannot even read valid files.
    """
    left = list(seeds)
    while left:
        process, pipe = _start(multiprocessing.get_context(method), work, left, memory)
        end = ""
        while left and not end:
            try:
                end = "" if pipe.poll(6 * LIMIT) else "hang"  # a case has up to three readers
                if not end:
                    yield from pipe.recv()[1]
                    left.pop(0)
            except EOFError:
                process.join()
                end = "crash"
        process.join(0 if end else LIMIT)
        process.kill()
        process.join()
        if end:
            seed = left.pop(0)
            words = f"the process ended with {process.exitcode}" if end == "crash" else "killed"
            yield Outcome(seed, list(KINDS)[seed % len(KINDS)], "?", end, words)


def _start(context: Any, work: Callable[..., Any], seeds: list[int], memory: int) -> tuple[Any, Connection]:
    """Start the process that runs the cases, and wait until it is ready."""
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(seeds, theirs, memory))
    process.start()
    theirs.close()
    try:
        if not ours.poll(120):
            raise EOFError
        ours.recv()
    except EOFError:
        process.kill()
        raise RuntimeError("the process that runs the cases did not start") from None
    return process, ours


def table(outcomes: Sequence[Outcome]) -> str:
    """Count outcomes by file and reader in a Markdown table, whose last column is the longest time."""
    results = ["result", *sorted({o.result for o in outcomes} - {"result"})]
    lines = [f"| damaged | read by | {' | '.join(results)} | surprises | longest |"]
    lines.append("| --- " * (len(results) + 4) + "|")
    for kind, user in dict.fromkeys((o.kind, o.user) for o in outcomes):
        mine = [o for o in outcomes if (o.kind, o.user) == (kind, user)]
        counts = Counter(o.result for o in mine)
        cells = [kind, user, *(str(counts[r]) for r in results), str(sum(bool(o.surprise) for o in mine))]
        lines.append(f"| {' | '.join(cells)} | {max(o.seconds for o in mine):.2f} s |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 1 if there was a surprise."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500, metavar="N", help="Number of cases.")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="Another seed runs other cases.")
    parser.add_argument("--only", type=int, metavar="CASE", help="Run only this case.")
    options = parser.parse_args(arguments)
    first = options.seed * 10**6
    seeds = range(first, first + options.count) if options.only is None else [options.only]
    started, outcomes = time.perf_counter(), []
    for outcome in run(seeds):
        outcomes.append(outcome)
        if outcome.surprise:
            print(f"surprise: case {outcome.seed}, {outcome.kind} read by {outcome.user}: {outcome.result}")
            print(outcome.surprise, flush=True)
    print(table(outcomes))
    surprises = sum(bool(o.surprise) for o in outcomes)
    print(f"\n{len(seeds)} cases in {time.perf_counter() - started:.0f} s, {surprises} surprises")
    return 1 if surprises else 0


if __name__ == "__main__":
    raise SystemExit(main())
