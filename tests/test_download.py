"""VOC 2012 arrives whatever the network, the disk and the power do; tested with a small archive like it."""

import collections
import dataclasses
import errno
import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
import torchvision
from filelock import FileLock
from moody_host import Host
from voc_layout import make_folder

from d2lseg import cli, voc
from d2lseg.datasets import download, transfer

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "VOCdevkit/VOC2012"
LISTS = (("train", 5), ("val", 2), ("trainval", 7))
QUICK = transfer.Patience(timeout=20, rounds=2, pause=0)
DEAD = "http://127.0.0.1:9/set.tar"  # the port "discard", where nothing listens


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The files of a dataset as published, with annotations and with photographs that have no mask."""
    top = tmp_path_factory.mktemp("published")
    folder = top / FOLDER
    make_folder(folder)
    lists = folder / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    (folder / "Annotations").mkdir()
    for i in range(30):
        shutil.copy(folder / "JPEGImages" / "train_00.jpg", folder / "JPEGImages" / f"other_{i:02d}.jpg")
        (folder / "Annotations" / f"other_{i:02d}.xml").write_text("<annotation/>")
    return top


def tar_of(top):
    """Pack a folder, in the order of its names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(top / "VOCdevkit", "VOCdevkit")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def content(source):
    return tar_of(source)


def archive_of(content, *urls):
    md5 = hashlib.md5(content).hexdigest()
    return download.Archive("set.tar", urls or (DEAD,), len(content), md5, FOLDER, LISTS, 1_000_000)


@pytest.fixture
def hosts():
    """A function that starts hosts, which are closed after the test."""
    made = []

    def make(content):
        made.append(Host(content))
        return made[-1]

    yield make
    for host in made:
        host.close()


def files_in(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def expected(source):
    """Return the files that should arrive: the lists and the pairs that they name, and nothing else."""
    names = [f"{split}_{i:02d}" for split, count in (("train", 5), ("val", 2)) for i in range(count)]
    paths = [f"JPEGImages/{n}.jpg" for n in names] + [f"SegmentationClass/{n}.png" for n in names]
    paths += [f"ImageSets/Segmentation/{name}.txt" for name, _ in LISTS]
    return {path: (source / FOLDER / path).read_bytes() for path in paths}


def flipped(content):
    """Return a file of the same length with one byte changed."""
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


def random_cuts(count, size, seed):
    """Return lengths of answers that leave something for the last one."""
    rng = random.Random(seed)
    places = sorted(rng.sample(range(1, size), count))
    return [b - a for a, b in zip([0, *places], places, strict=False)]


# ------------------------------------------------------------------ it arrives


def test_only_the_pairs_and_lists_arrive(hosts, content, source, tmp_path):
    host = hosts(content)
    folder = download.install(archive_of(content, host.url), tmp_path / "new", patience=QUICK)
    assert folder == tmp_path / "new" / FOLDER and files_in(folder) == expected(source)
    assert len(expected(source)) == 17 < len(files_in(source)) == 77
    left = {path.name for path in (tmp_path / "new").iterdir()}
    assert left == {"VOCdevkit", "set.tar", ".set.tar.lock"}
    assert [path.name for path in folder.parent.iterdir()] == ["VOC2012"]


def test_a_complete_folder_is_used_and_a_damaged_one_is_repaired_without_the_network(
    hosts, content, source, tmp_path, capsys
):
    host = hosts(content)
    archive = archive_of(content, host.url)
    folder = download.install(archive, tmp_path, patience=QUICK)
    host.close()
    before = (folder / "JPEGImages").stat().st_mtime_ns
    assert download.install(archive, tmp_path) == folder and len(host.asked) == 1
    assert (folder / "JPEGImages").stat().st_mtime_ns == before
    for name in ("VOC2012-incomplete", "VOC2012-incomplete-2"):
        (folder / "SegmentationClass" / "val_01.png").unlink()
        (folder / "mine.txt").write_text("my own notes")
        download.install(archive, tmp_path)
        assert files_in(folder) == expected(source) and len(host.asked) == 1
        assert (folder.with_name(name) / "mine.txt").read_text() == "my own notes"
        assert f"it is now {folder.with_name(name)}" in capsys.readouterr().out


def test_a_full_folder_unpacked_by_hand_is_used_as_it_is(source, content, tmp_path):
    shutil.copytree(source, tmp_path / "data")
    assert download.install(archive_of(content), tmp_path / "data") == tmp_path / "data" / FOLDER
    assert files_in(tmp_path / "data") == files_in(source)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: shutil.rmtree(folder),
        lambda folder: (folder / "JPEGImages" / "train_03.jpg").unlink(),
        lambda folder: (folder / "SegmentationClass" / "val_00.png").write_bytes(b""),
        lambda folder: (folder / "ImageSets" / "Segmentation" / "trainval.txt").unlink(),
        lambda folder: (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("val_00\n"),
        lambda folder: (folder / "ImageSets" / "Segmentation" / "val.txt").write_bytes(b"\xff\xff"),
        lambda folder: shutil.rmtree(folder / "SegmentationClass"),
    ],
)
def test_a_damaged_folder_is_not_complete(source, content, tmp_path, damage):
    shutil.copytree(source, tmp_path / "data")
    folder, archive = tmp_path / "data" / FOLDER, archive_of(content)
    assert download.is_complete(folder, archive)
    damage(folder)
    assert not download.is_complete(folder, archive)


def test_half_of_it_never_looks_whole(content, tmp_path, monkeypatch):
    (tmp_path / "set.tar").write_bytes(content)
    archive, seen, copy = archive_of(content), [], shutil.copyfileobj

    def copyfileobj(*arguments):
        folders = [tmp_path / FOLDER, tmp_path / "VOCdevkit" / ".VOC2012.part"]
        seen.append([download.is_complete(folder, archive) for folder in folders])
        copy(*arguments)

    monkeypatch.setattr(shutil, "copyfileobj", copyfileobj)
    folder = download.install(archive, tmp_path)
    assert seen == [[False, False]] * 17 and download.is_complete(folder, archive)


# ------------------------------------------------------------------ bad networks


def test_thirty_cuts_at_random_places_cost_no_byte_twice(hosts, content, source, tmp_path):
    host = hosts(content)
    host.cuts = [cut + cut % 2 for cut in random_cuts(30, len(content) - 60, seed=30)]  # even: a plain end
    folder = download.install(archive_of(content, host.url), tmp_path, patience=QUICK)
    assert files_in(folder) == expected(source)
    assert len(host.asked) == 31 and host.sent == len(content)
    assert host.asked[0] is None and all(host.asked[1:])


def test_thirty_resets_at_random_places_are_survived(hosts, content, source, tmp_path):
    host = hosts(content)
    host.cuts = [cut | 1 for cut in random_cuts(30, len(content) - 60, seed=31)]  # odd: a reset
    # a reset may lose all that is under way, so an answer may bring nothing
    patience = dataclasses.replace(QUICK, rounds=40)
    folder = download.install(archive_of(content, host.url), tmp_path, patience=patience)
    assert files_in(folder) == expected(source)
    assert len(host.asked) == 31 and not host.cuts


@pytest.mark.parametrize("length", ["none", "chunked"])
def test_answers_without_a_length_may_break_off_too(hosts, content, source, tmp_path, length):
    host = hosts(content)
    host.length, host.cuts = length, [40000, 20001, 30000]
    patience = dataclasses.replace(QUICK, rounds=5)
    folder = download.install(archive_of(content, host.url), tmp_path, patience=patience)
    assert files_in(folder) == expected(source) and len(host.asked) == 4


def failed(content, tmp_path, *urls, patience=QUICK):
    """Return the message of a download when no mirror works."""
    with pytest.raises(ConnectionError) as caught:
        download.install(archive_of(content, *urls), tmp_path, patience=patience)
    assert not (tmp_path / FOLDER).exists() and not (tmp_path / "set.tar").exists()
    return str(caught.value)


def test_mirrors_are_tried_in_turn_and_named_with_what_failed(hosts, content, source, tmp_path, monkeypatch):
    lost, wrong, busy, page = hosts(content), hosts(flipped(content)), hosts(content), hosts(b"<html>")
    lost.statuses, busy.statuses = [404], [503, 503]
    urls = (DEAD, lost.url, wrong.url, busy.url, page.url)
    message = failed(content, tmp_path, *urls)
    assert message.startswith("set.tar could not be downloaded. Tried: ")
    for url, reason in (
        (DEAD, "[Errno 111] Connection refused" if sys.platform == "linux" else ""),
        (lost.url, "404 Not Found"),
        (wrong.url, f"a different file (its MD5 is {hashlib.md5(wrong.content).hexdigest()}"),
        (busy.url, "503 Service Unavailable"),
        (page.url, f"a file of 6 bytes, expected {len(content):,}"),
    ):
        assert f"{url}: {reason}" in message
    for way_out in ("--from FILE", "--mirror URL", "--data emojivoc", "emojivoc.prepare()"):
        assert way_out in message
    assert [len(host.asked) for host in (lost, wrong, busy, page)] == [1, 1, 2, 1], "404 is asked once"
    # the same mirrors, and a good one after them
    good = hosts(content)
    lost.statuses, busy.statuses = [404], [503, 503]
    folder = download.install(archive_of(content, *urls, good.url), tmp_path, patience=QUICK)
    assert files_in(folder) == expected(source) and len(good.asked) == 1


def test_a_host_that_recovers_is_asked_again_after_a_pause(hosts, content, source, tmp_path, monkeypatch):
    host, pauses = hosts(content), []
    host.statuses = [503, 429]
    monkeypatch.setattr(transfer.time, "sleep", pauses.append)
    archive = archive_of(content, host.url)
    assert files_in(download.install(archive, tmp_path)) == expected(source)
    assert pauses == [5, 5] and len(host.asked) == 3


def test_a_silent_host_is_left_and_what_it_gave_is_kept(hosts, content, source, tmp_path):
    silent, good = hosts(content), hosts(content)
    silent.stalls, silent.statuses = 2, [None, None, 500]
    patience = transfer.Patience(timeout=0.3, rounds=1, pause=0)
    message = failed(content, tmp_path, silent.url, patience=patience)
    assert silent.url in message and not silent.stalls
    have = (tmp_path / ".set.tar.part").stat().st_size
    assert have >= len(content) * 3 // 4 and f"{have:,} of {len(content):,} bytes are kept in" in message
    archive = archive_of(content, silent.url, good.url)
    silent.statuses = [500]
    assert files_in(download.install(archive, tmp_path, patience=QUICK)) == expected(source)
    assert good.asked == [f"bytes={have}-"] and good.sent == len(content) - have


def test_bytes_of_several_mirrors_are_joined(hosts, content, source, tmp_path):
    first, second = hosts(content), hosts(content)
    first.cuts, first.statuses = [50000], [None, 500]
    second.cuts = [len(content) - 50000 - 1000]
    archive = archive_of(content, first.url, second.url)
    patience = dataclasses.replace(QUICK, rounds=1)
    assert files_in(download.install(archive, tmp_path, patience=patience)) == expected(source)
    assert second.asked == ["bytes=50000-", f"bytes={len(content) - 1000}-"]
    assert second.sent == len(content) - 50000


def test_a_host_without_ranges_sends_again_but_nothing_is_lost(hosts, content, source, tmp_path):
    host = hosts(content)
    host.ranges, host.cuts = "ignored", [90000, 50000, 100000]
    assert files_in(download.install(archive_of(content, host.url), tmp_path, patience=QUICK)) == expected(
        source
    )
    assert host.asked == [None, "bytes=90000-", "bytes=90000-", "bytes=100000-"]


def test_a_host_that_refuses_ranges_is_asked_without(hosts, content, source, tmp_path):
    host = hosts(content)
    host.ranges, host.cuts = "refused", [70000]
    assert files_in(download.install(archive_of(content, host.url), tmp_path, patience=QUICK)) == expected(
        source
    )
    assert host.asked == [None, "bytes=70000-", None]


def test_ranges_of_a_total_that_is_not_said_are_taken(hosts, content, source, tmp_path):
    host = hosts(content)
    host.ranges, host.cuts = "unknown", [70000]
    assert files_in(download.install(archive_of(content, host.url), tmp_path, patience=QUICK)) == expected(
        source
    )
    assert host.sent == len(content)


@pytest.mark.parametrize("mood", ["wrong", "bare"])
def test_other_bytes_than_those_asked_for_are_refused(hosts, content, source, tmp_path, mood):
    host, good = hosts(content), hosts(content)
    host.ranges, host.cuts = mood, [70000]
    assert "other bytes" in failed(content, tmp_path, host.url)
    download.install(archive_of(content, host.url, good.url), tmp_path, patience=QUICK)
    assert good.asked == ["bytes=70000-"], "what is kept is good"
    assert files_in(tmp_path / FOLDER) == expected(source)


def test_a_file_that_changes_between_attempts_is_fetched_again(hosts, content, source, tmp_path):
    host = hosts(flipped(content))
    host.cuts, answer = [80000], host.answer

    def change(request):
        if host.asked:
            host.content = content
        answer(request)

    host.answer = change
    assert files_in(download.install(archive_of(content, host.url), tmp_path, patience=QUICK)) == expected(
        source
    )
    assert host.asked == [None, "bytes=80000-", None], "the joined file is wrong, and not the mirror's fault"


def test_a_mirror_that_spoils_the_file_twice_is_left(hosts, content, source, tmp_path):
    bad, good = hosts(flipped(content)), hosts(content)
    bad.cuts = [80000, len(content) - 80000, 60000]
    archive = archive_of(content, bad.url, good.url)
    assert files_in(download.install(archive, tmp_path, patience=QUICK)) == expected(source)
    assert len(bad.asked) == 4 and good.asked == [None]


def test_redirects_are_followed_also_in_the_middle(hosts, content, source, tmp_path):
    old, new = hosts(b""), hosts(content)
    old.moved_to, new.cuts = new.url, [60000]
    assert files_in(download.install(archive_of(content, old.url), tmp_path, patience=QUICK)) == expected(
        source
    )
    assert old.asked == new.asked == [None, "bytes=60000-"]


@pytest.mark.parametrize("target", ["itself", "file:///etc/hostname"])
def test_redirects_in_a_circle_or_to_a_file_are_refused(hosts, content, tmp_path, target):
    host = hosts(content)
    host.moved_to = host.url if target == "itself" else target
    assert f"{host.url}: 302 " in failed(content, tmp_path, host.url)


def test_an_answer_that_is_not_http_is_named(hosts, content, tmp_path):
    host = hosts(content)
    host.answer = lambda request: request.wfile.write(b"220 mail.example ready\r\n")
    assert f"{host.url}: 220 mail.example ready" in failed(content, tmp_path, host.url)


@pytest.mark.parametrize("size", ["half", "whole", "wrong", "too long"])
def test_a_part_from_before_is_used_for_what_it_is_worth(hosts, content, source, tmp_path, size):
    part = {
        "half": content[: len(content) // 2],
        "whole": content,
        "wrong": flipped(content),
        "too long": content + b"more",
    }[size]
    asked = {"half": [f"bytes={len(content) // 2}-"], "whole": []}.get(size, [None])
    # the second as torchvision leaves it, under the final name
    for place in (".set.tar.part", "set.tar"):
        root = tmp_path / place.strip(".")
        root.mkdir()
        (root / place).write_bytes(part)
        host = hosts(content)
        assert files_in(download.install(archive_of(content, host.url), root, patience=QUICK)) == expected(
            source
        )
        assert host.asked == asked and not (root / ".set.tar.part").exists()


# ------------------------------------------------------------------ mirrors and files of the user's


def test_the_users_mirrors_come_first(hosts, content, source, tmp_path, monkeypatch):
    order, names = [], ("typed", "set", "own")
    made = {name: hosts(content) for name in names}
    for name, host in made.items():
        host.statuses = [404]
        monkeypatch.setattr(host, "answer", lambda r, n=name, a=host.answer: (order.append(n), a(r)))
    monkeypatch.setenv("D2LSEG_VOC_MIRRORS", f"{made['set'].url}  {made['own'].url}")
    typed = made["typed"].url.removesuffix("set.tar")  # the folder that the file is in
    with pytest.raises(ConnectionError, match=f"Tried: {typed}set.tar: 404"):
        download.install(archive_of(content, made["own"].url), tmp_path, mirrors=[typed], patience=QUICK)
    assert order == ["typed", "set", "own"], "each once"


@pytest.mark.parametrize("mirror", ["/home/me/set.tar", "ftp://host/set.tar", "file:///set.tar", "http://"])
def test_a_mirror_that_is_not_an_address_is_refused(content, tmp_path, mirror):
    with pytest.raises(ValueError, match=f"mirror '{mirror}': expected an address .*--from FILE"):
        download.install(archive_of(content), tmp_path / "new", mirrors=[mirror])
    assert not (tmp_path / "new").exists()


def test_a_file_fetched_by_hand_is_taken_and_left_alone(content, source, tmp_path):
    (tmp_path / "by hand.tar").write_bytes(content)
    folder = download.install(archive_of(content), tmp_path / "new", source=tmp_path / "by hand.tar")
    assert files_in(folder) == expected(source) and (tmp_path / "by hand.tar").read_bytes() == content
    assert not (tmp_path / "new" / "set.tar").exists()


def test_a_file_that_is_not_the_archive_is_refused(content, tmp_path):
    path = tmp_path / "by hand.tar"
    archive = archive_of(content)
    with pytest.raises(FileNotFoundError, match=r"by hand\.tar: no such file"):
        download.install(archive, tmp_path / "new", source=path)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=rf"by hand\.tar: .*set\.tar.*\({len(content) - 1:,} bytes"):
        download.install(archive, tmp_path / "new", source=path)
    path.write_bytes(flipped(content))
    with pytest.raises(ValueError, match=rf"its MD5 is \w+, expected {archive.md5}"):
        download.install(archive, tmp_path / "new", source=path)
    assert path.read_bytes() == flipped(content) and not (tmp_path / "new").exists()


# ------------------------------------------------------------------ bad archives


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("/tmp/outside.txt"),
        member("../outside.txt"),
        member("VOCdevkit/VOC2012/../../../outside.txt"),
        member("C:\\outside.txt"),
        member("VOCdevkit\\..\\outside.txt"),
        member("VOCdevkit/VOC2012/link", tarfile.SYMTYPE, "/etc"),
        member("VOCdevkit/VOC2012/link", tarfile.LNKTYPE, "VOCdevkit/VOC2012/JPEGImages/train_00.jpg"),
        member("VOCdevkit/VOC2012/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: info.name,
)
def test_members_that_would_land_outside_are_refused(content, tmp_path, bad):
    (tmp_path / "bad.tar").write_bytes(content)
    with tarfile.open(tmp_path / "bad.tar", "a") as tar:
        tar.addfile(bad)
    archive = archive_of((tmp_path / "bad.tar").read_bytes())
    with pytest.raises(ValueError, match=r"bad\.tar: its member ") as caught:
        download.install(archive, tmp_path / "new", source=tmp_path / "bad.tar")
    assert repr(bad.name) in str(caught.value)
    assert {name for name in files_in(tmp_path) if "lock" not in name} == {"bad.tar"}


def test_a_list_that_names_a_path_is_refused(source, tmp_path):
    shutil.copytree(source, tmp_path / "src")
    (tmp_path / "src" / FOLDER / "ImageSets" / "Segmentation" / "val.txt").write_text(
        "val_00\n../../val_01\n"
    )
    content = tar_of(tmp_path / "src")
    (tmp_path / "bad.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"the lists name '\.\./\.\./val_01'; expected names without"):
        download.install(archive_of(content), tmp_path / "new", source=tmp_path / "bad.tar")
    assert not (tmp_path / "new" / FOLDER).exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("JPEGImages/val_00.jpg", f"it lacks 1 of 17 files, the first is {FOLDER}/JPEGImages/val_00.jpg"),
        ("ImageSets/Segmentation/val.txt", f"it lacks 1 of 3 files, the first is {FOLDER}/ImageSets"),
        ("SegmentationClass/train_02.png", "contains an empty file"),
    ],
)
def test_an_archive_with_gaps_is_not_called_complete(source, tmp_path, path, words):
    shutil.copytree(source, tmp_path / "src")
    place = tmp_path / "src" / FOLDER / path
    place.write_bytes(b"") if "empty" in words else place.unlink()
    content = tar_of(tmp_path / "src")
    (tmp_path / "set.tar").write_bytes(content)
    with pytest.raises(RuntimeError, match=words):
        download.install(archive_of(content), tmp_path)
    assert list((tmp_path / "VOCdevkit").glob("*")) == [], "nothing half is left"


# ------------------------------------------------------------------ bad disks


def test_a_disk_that_is_too_small_is_refused_before_anything_is_asked(hosts, content, tmp_path, monkeypatch):
    host = hosts(content)
    archive = dataclasses.replace(archive_of(content, host.url), size=3_000_000)
    free = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free(0, 0, 2_900_000))
    with pytest.raises(OSError, match=r"3 MB free, .*4 MB .*--out DIR"):
        download.install(archive, tmp_path)
    assert host.asked == [] and not (tmp_path / FOLDER).exists()
    # what is there already need not fit again
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free(0, 0, 1_000_000))
    (tmp_path / "set.tar").write_bytes(content)
    download.install(archive_of(content), tmp_path)
    (tmp_path / "by hand.tar").write_bytes(content)
    download.install(archive_of(content), tmp_path / "new", source=tmp_path / "by hand.tar")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free(0, 0, 999_999))
    with pytest.raises(OSError, match=r"1 MB are needed \(0 to download"):
        download.install(archive_of(content), tmp_path / "newer", source=tmp_path / "by hand.tar")


@pytest.mark.parametrize("seed", range(5))
def test_a_disk_that_fills_up_is_named_and_nothing_is_lost(
    hosts, content, source, tmp_path, monkeypatch, seed
):
    host, space = hosts(content), random.Random(seed).randrange(len(content))
    host.pace = 1e-4  # several blocks, so that some fit and one does not
    archive, plain_open = archive_of(content, host.url), Path.open

    class FullDisk(io.FileIO):
        def write(self, data):
            left = space - self.tell()
            if len(data) > left:
                super().write(memoryview(data)[:left])
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def limited(self, mode="r", *rest, **more):
        return FullDisk(self, "a") if mode == "ab" else plain_open(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", limited)
    with pytest.raises(OSError, match=r"disk is full.* Free ") as caught:
        download.install(archive, tmp_path, patience=QUICK)
    assert not isinstance(caught.value, ConnectionError) and len(host.asked) == 1, "not the mirror's fault"
    assert (tmp_path / ".set.tar.part").read_bytes() == content[:space]
    monkeypatch.setattr(Path, "open", plain_open)
    assert files_in(download.install(archive, tmp_path, patience=QUICK)) == expected(source)
    assert host.asked == [None, f"bytes={space}-"]


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "broken disk")])
def test_a_disk_that_fails_in_unpacking_leaves_nothing_half(
    content, source, tmp_path, monkeypatch, code, words
):
    (tmp_path / "set.tar").write_bytes(content)
    archive, copy, calls = archive_of(content), shutil.copyfileobj, []

    def copyfileobj(*arguments):
        calls.append(1)
        if len(calls) == 9:
            raise OSError(code, "broken disk")
        copy(*arguments)

    monkeypatch.setattr(shutil, "copyfileobj", copyfileobj)
    with pytest.raises(OSError, match=words):
        download.install(archive, tmp_path)
    assert list((tmp_path / "VOCdevkit").glob("*")) == []
    assert files_in(download.install(archive, tmp_path)) == expected(source)


# ------------------------------------------------------------------ killed, and two at once

CHILD = """
import json, os, signal, sys
from pathlib import Path
from d2lseg.datasets import download, transfer

facts, root, chunk = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
end = [int(word) for word in sys.argv[4:]]  # the phase and the line of that phase, before which it dies
transfer.CHUNK, phase, lines = chunk, 0, [0, 0]  # lines of downloading, and of unpacking
PLACES = str(Path(download.__file__).parents[1]), download.shutil.__file__

def trace(frame, event, argument):
    global phase
    if frame.f_code.co_name == "copyfileobj":
        phase = 1
    if not frame.f_code.co_filename.startswith(PLACES):
        return None
    if event == "line":
        lines[phase] += 1
        if [phase, lines[phase]] >= end:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return trace

if end:
    sys.settrace(trace)
download.install(download.Archive(**facts), root, patience=transfer.Patience(20, 3, 0))
sys.settrace(None)
print(*lines)
"""


def start(archive, root, kill_at=(), chunk=4096):
    """Install in another process, which kills itself in a phase, 0 or 1, before a given line of it."""
    words = [json.dumps(dataclasses.asdict(archive)), str(root), str(chunk), *map(str, kill_at)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-u", "-c", CHILD, *words], env=environment, stdout=pipe, stderr=pipe, text=True
    )


def wait_for_request(host, before, child):
    """Wait until a process has sent the host a request."""
    deadline = time.monotonic() + 60
    while len(host.asked) == before:
        assert child.poll() is None and time.monotonic() < deadline, child.communicate()
        time.sleep(0.01)


def stage(root):
    """Return how far a killed process had come."""
    if (root / FOLDER).exists():
        return "in place"
    if (root / "VOCdevkit" / ".VOC2012.part").exists():
        return "unpacking"
    if (root / "set.tar").exists():
        return "checked"
    return "downloading" if (root / ".set.tar.part").exists() else "nothing yet"


@pytest.mark.slow
def test_a_process_killed_at_twenty_random_moments_leaves_nothing_half(hosts, content, source, tmp_path):
    host = hosts(content)
    archive = archive_of(content, host.url)
    whole = start(archive, tmp_path / "whole", kill_at=(2, 0))
    assert whole.wait() == 0, whole.stderr.read()
    lines = [int(word) for word in whole.stdout.read().split()[-2:]]
    rng, found = random.Random(2012), collections.Counter()
    moments = [(0, line) for line in rng.sample(range(1, lines[0]), 12)]
    moments += [(1, line) for line in rng.sample(range(1, lines[1]), 8)]
    for moment in moments:
        root = tmp_path / "{}-{}".format(*moment)
        child = start(archive, root, kill_at=moment)
        child.communicate()
        assert child.returncode != 0, "it was killed"
        found[stage(root)] += 1
        if (root / FOLDER).exists():
            assert files_in(root / FOLDER) == expected(source)
        else:
            assert not download.is_complete(root / FOLDER, archive)
        had = (root / ".set.tar.part").stat().st_size if stage(root) == "downloading" else 0
        asked = len(host.asked)
        assert files_in(download.install(archive, root, patience=QUICK)) == expected(source)
        assert [path.name for path in (root / "VOCdevkit").iterdir()] == ["VOC2012"]
        if had:
            assert host.asked[asked:] in ([f"bytes={had}-"], []), "it resumes from what has arrived"
    print(f"{len(moments)} kills before one of {lines} lines of downloading and unpacking: {dict(found)}")
    assert sum(found.values()) == 20 and min(found["downloading"], found["unpacking"]) >= 3


@pytest.mark.slow
def test_a_process_killed_again_and_again_arrives_in_the_end(hosts, content, source, tmp_path):
    host = hosts(content)
    host.pace = 0.03
    archive, rng, sizes = archive_of(content, host.url), random.Random(5), []
    for _ in range(5):
        asked = len(host.asked)
        child = start(archive, tmp_path)
        wait_for_request(host, asked, child)
        time.sleep(rng.uniform(0, 0.2))
        child.kill()
        child.communicate()
        assert not (tmp_path / FOLDER).exists()
        sizes.append((tmp_path / ".set.tar.part").stat().st_size)
    host.pace = 0
    assert files_in(download.install(archive, tmp_path, patience=QUICK)) == expected(source)
    print(f"of {len(content)} bytes there were after each kill: {sizes}")
    assert sizes == sorted(sizes) and sizes[-1] > 0, "no kill loses what had arrived"


def test_of_two_processes_one_works_and_the_other_waits(hosts, content, source, tmp_path):
    host = hosts(content)
    host.gate.clear()
    archive = archive_of(content, host.url)
    first = start(archive, tmp_path)
    wait_for_request(host, 0, first)
    second = start(archive, tmp_path)
    assert second.stdout.readline() == f"waiting for another process that is working in {tmp_path}\n"
    assert not (tmp_path / FOLDER).exists()
    host.gate.set()
    outs = [child.communicate(timeout=60) for child in (first, second)]
    assert first.returncode == second.returncode == 0, outs
    assert host.asked == [None] and host.sent == len(content), "downloaded once"
    assert files_in(tmp_path / FOLDER) == expected(source)


def test_what_another_has_put_there_meanwhile_is_used(content, source, tmp_path, monkeypatch):
    waits, folders = threading.Event(), []
    monkeypatch.setattr(download.tqdm, "write", lambda text: waits.set())
    thread = threading.Thread(target=lambda: folders.append(download.install(archive_of(content), tmp_path)))
    with FileLock(tmp_path / ".set.tar.lock"):
        thread.start()
        assert waits.wait(60)
        shutil.copytree(source / "VOCdevkit", tmp_path / "VOCdevkit")
    thread.join(60)
    assert folders == [tmp_path / FOLDER] and files_in(tmp_path / FOLDER) == files_in(source / FOLDER)


@pytest.mark.slow
def test_a_killed_process_frees_the_one_that_waits(hosts, content, source, tmp_path):
    host = hosts(content)
    host.gate.clear()
    archive = archive_of(content, host.url)
    first = start(archive, tmp_path)
    wait_for_request(host, 0, first)
    second = start(archive, tmp_path)
    assert second.stdout.readline().startswith("waiting for another process")
    first.kill()
    first.communicate()
    host.gate.set()
    assert second.wait(60) == 0 and files_in(tmp_path / FOLDER) == expected(source)
    second.communicate()


# ------------------------------------------------------------------ VOC 2012 itself


def test_the_facts_are_torchvisions(monkeypatch):
    table = torchvision.datasets.voc.DATASET_YEAR_DICT
    archive = download.voc2012()
    facts = table["2012"]
    assert (archive.name, archive.md5) == (facts["filename"], facts["md5"])
    assert archive.urls[0] == facts["url"] and Path(archive.folder) == Path(facts["base_dir"])
    assert archive.urls[1].startswith("http://d2l-data.s3-accelerate.amazonaws.com/")
    assert all(url.endswith(f"/{archive.name}") for url in archive.urls)
    monkeypatch.delitem(table, "2012")
    assert download.voc2012().urls[0].endswith("/voc2012/VOCtrainval_11-May-2012.tar")
    monkeypatch.delattr(torchvision.datasets.voc, "DATASET_YEAR_DICT")
    assert len(set(download.voc2012().urls)) == 3


@pytest.fixture
def small_voc(hosts, content, monkeypatch):
    """Serve the small archive as VOC 2012 from a local host."""
    host = hosts(content)
    archive = archive_of(content, host.url)
    for module in (voc, download):  # voc may have it by name, or look it up
        monkeypatch.setattr(module, "voc2012", lambda: archive, raising=False)
    return host


def test_download_gives_a_folder_that_loads(small_voc, tmp_path, monkeypatch):
    monkeypatch.setenv("D2LSEG_DATA", str(tmp_path / "data"))
    folder = voc.download()
    assert folder == tmp_path / "data" / "VOCdevkit" / "VOC2012"
    train_iter, val_iter = voc.load_data_voc(folder, 2, (16, 16))
    assert len(train_iter.dataset) == 5 and len(val_iter) == 2
    assert voc.download(tmp_path / "data") == folder and len(small_voc.asked) == 1


def test_the_command_downloads_and_says_what_is_there(small_voc, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("D2LSEG_DATA", str(tmp_path))
    mirrors = ["--mirror", DEAD.replace("set", "a"), DEAD.replace("set", "b"), "--mirror", small_voc.url]
    assert cli.main(["data", "voc2012", *mirrors]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / FOLDER}: 5 images to train on and 2 to validate on" in out
    assert f"{tmp_path / 'set.tar'} is no longer needed and can be deleted" in out
    assert DEAD.replace("set", "a") in out and DEAD.replace("set", "b") in out
    (tmp_path / "set.tar").rename(tmp_path / "by hand.tar")
    again = ["data", "voc2012", "--out", str(tmp_path / "b"), "--from", str(tmp_path / "by hand.tar")]
    assert cli.main(again) == cli.main(again) == 0 and len(small_voc.asked) == 1
    assert "no longer needed" not in capsys.readouterr().out


def test_the_commands_errors_are_one_line(small_voc, tmp_path, capsys, monkeypatch):
    small_voc.statuses = [404]
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)
    assert cli.main(["data", "voc2012", "--out", str(tmp_path)]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1 and lines[0].startswith("error: set.tar ") and small_voc.url in lines[0]
    (tmp_path / "text").write_text("only one line\n")
    assert cli.main(["data", "voc2012", "--from", str(tmp_path / "text"), "--out", str(tmp_path)]) == 1
    assert re.search(r"text: .*set\.tar.*14 bytes", capsys.readouterr().err)


def test_the_commands_of_data_must_be_chosen(capsys):
    for words in (["data"], ["data", "voc2011"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 2 and "JOB" in capsys.readouterr().err
