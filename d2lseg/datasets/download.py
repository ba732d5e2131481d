"""Download Pascal VOC 2012 atomically, from several mirrors or from a file.

Of the 17,125 photographs in the archive, only the 2,913 with masks are unpacked. The folder is put in place
by a single rename, so half a dataset never looks like a whole one, no matter when the process is stopped.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from ..engine.files import check_file, folder_written_whole, read_text, user_path
from . import transfer

MIRRORS_SETTING = "D2LSEG_VOC_MIRRORS"  # environment variable: addresses separated by spaces
# torchvision.datasets.voc.DATASET_YEAR_DICT["2012"] of torchvision 0.29.1
_URL = "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
_MIRRORS = (
    "http://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",  # Dive into Deep Learning's
    "https://dataset.bj.bcebos.com/voc/VOCtrainval_11-May-2012.tar",  # that of paddle.vision.datasets.VOC2012
)
_OFFLINE = (
    "Try again later; or get the file some other way and pass it: python -m d2lseg data voc2012 --from FILE, "
    "in Python voc.download(source=FILE); or name another mirror: --mirror URL. Meanwhile, EmojiVOC needs no "
    "network: --data emojivoc, in Python emojivoc.prepare()"
)
_OTHER_DISK = "choose a folder on another disk with --out DIR or the environment variable D2LSEG_DATA"


@dataclass(frozen=True)
class Archive(transfer.RemoteFile):
    """A tar archive of a dataset in VOC layout, and which part of it to unpack.

    Parameters
    ----------
    folder : str
        The folder in the archive that holds the dataset.
    lists : tuple of (str, int)
        The lists in ``ImageSets/Segmentation``, each with the least number of images on it.
    unpacked : int
        An upper bound for the unpacked size in bytes.
    """

    folder: str
    lists: tuple[tuple[str, int], ...]
    unpacked: int


def voc2012() -> Archive:
    """Return the description of the VOC 2012 archive."""
    return Archive(
        name="VOCtrainval_11-May-2012.tar",
        urls=(_torchvision_url(), *_MIRRORS),  # a newer torchvision knows when the host has moved
        size=1_999_639_040,
        md5="6cd6e144f989b92b3379bac3b3de84fd",
        folder="VOCdevkit/VOC2012",
        lists=(("train", 1464), ("val", 1449), ("trainval", 2913)),
        unpacked=500_000_000,  # a quarter of the archive, for a sixth of its photographs and the masks
    )


def _torchvision_url() -> str:
    """Return torchvision's address; its table is not part of its API, so it may disappear."""
    try:
        from torchvision.datasets.voc import DATASET_YEAR_DICT

        return DATASET_YEAR_DICT["2012"]["url"]
    except (ImportError, LookupError):
        return _URL


def install(
    archive: Archive,
    root: str | os.PathLike[str],
    source: str | os.PathLike[str] | None = None,
    mirrors: Sequence[str] = (),
    patience: transfer.Patience = transfer.PATIENCE,
) -> Path:
    """Download and unpack a dataset, unless it is already there, and return its folder.

    Safe to call again after a crash, and from several processes: one works while the others wait.

    Parameters
    ----------
    archive : Archive
        What to install.
    root : path
        Where the archive and its ``folder`` go.
    source : path, optional
        A copy of the archive to unpack instead of downloading it; it is left unchanged.
    mirrors : sequence of str
        Addresses to try first, before those in the environment variable ``D2LSEG_VOC_MIRRORS`` and the
        archive's own. One that ends in ``/`` is the folder that holds the file.
    patience : Patience
        How long to try the mirrors.

    Raises
    ------
    ConnectionError
        If every mirror failed; the next call resumes the download.
    FileNotFoundError, ValueError
        If ``source`` is missing or not the archive, if a mirror is not an address, or if the archive would
        write outside its folder.
    RuntimeError
        If the archive lacks an image or a mask.
    OSError
        If the disk is too small or full.
    """
    root = user_path(root)
    folder = root / archive.folder
    if is_complete(folder, archive):
        return folder
    archive = replace(archive, urls=_addresses(archive, mirrors))
    copy = None if source is None else user_path(source)
    if copy is not None:
        _check_source(copy, archive)
    root.mkdir(parents=True, exist_ok=True)
    with _lock(root / f".{archive.name}.lock"), _full_disk_explained(root):
        if not is_complete(folder, archive):  # another process may have finished it meanwhile
            _check_disk(archive, root, download=copy is None)
            _unpack(archive, _fetch(archive, root, patience) if copy is None else copy, folder)
    return folder


def is_complete(folder: str | os.PathLike[str], archive: Archive) -> bool:
    """Return whether the lists are long enough, and every image and mask on them exists and is not empty."""
    try:
        texts = [read_text(Path(folder) / _list_path(name)) for name, _ in archive.lists]
        return all(os.path.getsize(Path(folder) / path) > 0 for path in _pairs(archive, texts))
    except (OSError, ValueError):
        return False


def _list_path(name: str) -> str:
    return f"ImageSets/Segmentation/{name}.txt"


def _pairs(archive: Archive, texts: Sequence[str]) -> list[str]:
    """Return the paths of the images and masks that the lists name, relative to the dataset's folder."""
    ids: dict[str, None] = {}  # each once, in order
    for (name, least), text in zip(archive.lists, texts, strict=True):
        names = text.split()
        if len(names) < least:
            raise ValueError(f"{_list_path(name)}: {len(names)} names, expected {least}")
        ids |= dict.fromkeys(names)
    strange = [name for name in ids if not re.fullmatch(r"\w[\w.-]*", name)]
    if strange:
        raise ValueError(f"the lists name {strange[0]!r}; expected names without a path")
    return [path for name in ids for path in (f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png")]


def _addresses(archive: Archive, mirrors: Sequence[str]) -> tuple[str, ...]:
    """Return the user's mirrors and the archive's, without duplicates."""
    urls = [*mirrors, *os.environ.get(MIRRORS_SETTING, "").split(), *archive.urls]
    for url in urls:
        if not re.match(r"https?://[^/]", url):
            raise ValueError(
                f"mirror {url!r}: expected an address that begins with http:// or https://; for a file "
                "on this machine use --from FILE, in Python source=FILE"
            )
    return tuple(dict.fromkeys(url + archive.name if url.endswith("/") else url for url in urls))


def _check_source(path: Path, archive: Archive) -> None:
    """Raise unless a file is the archive."""
    check_file(path, advice=f"expected a copy of {archive.name}")
    wrong = transfer.fault(path, archive)
    if wrong is not None:
        raise ValueError(
            f"{path}: not {archive.name}, or truncated ({wrong}). Fetch it again, or leave out --from to "
            "have it downloaded"
        )


def _check_disk(archive: Archive, root: Path, download: bool) -> None:
    """Raise if the disk is too small."""
    path = root / archive.name
    have = max([p.stat().st_size for p in (path, transfer.partial(path)) if p.is_file()], default=0)
    missing = max(0, archive.size - have) if download else 0
    needed, free = missing + archive.unpacked, shutil.disk_usage(root).free
    if free < needed:
        raise OSError(
            f"{root} has {free / 1e6:,.0f} MB free, but {needed / 1e6:,.0f} MB are needed "
            f"({missing / 1e6:,.0f} to download, {archive.unpacked / 1e6:,.0f} to unpack): free some space, "
            f"or {_OTHER_DISK}"
        )


@contextmanager
def _full_disk_explained(root: Path) -> Iterator[None]:
    """Say what to do if the disk fills up."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"{root}: the disk is full. Free some space and call this again to resume the download, or "
            f"{_OTHER_DISK}"
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Admit one process at a time; the system frees the lock of a process that was killed."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tqdm.write(f"waiting for another process that is working in {path.parent}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(archive: Archive, root: Path, patience: transfer.Patience) -> Path:
    """Download the archive, or say what to do without a network."""
    try:
        return transfer.fetch(archive, root, patience)
    except ConnectionError as error:
        raise ConnectionError(f"{error}. {_OFFLINE}") from error


def _unpack(archive: Archive, path: Path, folder: Path) -> None:
    """Unpack the lists and what they name; the folder appears when everything is there."""
    with folder_written_whole(folder, locked=True) as draft:
        _extract(archive, path, draft)
        if not is_complete(draft, archive):
            raise RuntimeError(f"{path}: contains an empty file; expected {archive.name} as published")
        _set_aside(folder)


def _extract(archive: Archive, path: Path, draft: Path) -> None:
    """Write the lists, and the images and masks on them, into a folder."""
    with tarfile.open(path, "r:") as tar:
        members = {str(PurePosixPath(member.name)): member for member in tar if _is_file(member, path)}

        def content(name: str) -> IO[bytes]:
            file = tar.extractfile(members[f"{archive.folder}/{name}"])
            assert file is not None  # only folders and links have no content, and `_is_file` left them out
            return file

        lists = [_list_path(name) for name, _ in archive.lists]
        _check_members(archive, path, members, lists)
        wanted = [*lists, *_pairs(archive, [content(name).read().decode() for name in lists])]
        _check_members(archive, path, members, wanted)
        # in the order of the archive, so that the disk reads it from front to back
        wanted.sort(key=lambda name: members[f"{archive.folder}/{name}"].offset)
        for name in tqdm(wanted, desc=f"unpacking {archive.folder}", unit="file", leave=False):
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with content(name) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file)


def _is_file(member: tarfile.TarInfo, path: Path) -> bool:
    """Return whether a member is a file and not a folder; raise if it leads outside the folder."""
    place = PurePosixPath(member.name)
    inside = not place.is_absolute() and ".." not in place.parts and not re.search(r"[\\:]", member.name)
    if not inside or not (member.isfile() or member.isdir()):
        raise ValueError(
            f"{path}: its member {member.name!r} is a link, a device or outside the folder; nothing was "
            "unpacked. This is not the archive as published: get it from another place"
        )
    return member.isfile()


def _check_members(
    archive: Archive, path: Path, members: dict[str, tarfile.TarInfo], wanted: Sequence[str]
) -> None:
    """Raise if the archive has gaps."""
    missing = [name for name in wanted if f"{archive.folder}/{name}" not in members]
    if missing:
        raise RuntimeError(
            f"{path}: incomplete, it lacks {len(missing)} of {len(wanted)} files, the first is "
            f"{archive.folder}/{missing[0]}; expected {archive.name} as published"
        )


def _set_aside(folder: Path) -> None:
    """Rename an incomplete folder, as it may contain the user's own work."""
    if not os.path.lexists(folder):
        return
    count, aside = 1, folder.with_name(f"{folder.name}-incomplete")
    while os.path.lexists(aside):
        count += 1
        aside = folder.with_name(f"{folder.name}-incomplete-{count}")
    folder.rename(aside)
    tqdm.write(f"{folder} was incomplete; it is now {aside}. Delete it unless it contains work of yours")
