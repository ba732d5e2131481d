"""Pascal VOC 2012 that arrives: from several mirrors or a file, whole or not at all.

Of the archive's 17,125 photographs only the 2,913 that have masks are unpacked. They take their place in one
step, by a rename, so half a dataset never looks like a whole one, whenever the process is stopped.
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

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from ..engine.files import read_text
from . import transfer

MIRRORS_SETTING = "D2LSEG_VOC_MIRRORS"  # in the environment: addresses with spaces between them
# torchvision.datasets.voc.DATASET_YEAR_DICT["2012"] of torchvision 0.29.1
_URL = "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
_MIRRORS = (
    "http://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",  # Dive into Deep Learning's
    "https://dataset.bj.bcebos.com/voc/VOCtrainval_11-May-2012.tar",  # that of paddle.vision.datasets.VOC2012
)
_ADVICE = (
    "Try again later; or fetch the file elsewhere and give it: python -m d2lseg data voc2012 --from FILE, in "
    "Python voc.download(source=FILE); or name another mirror: --mirror URL. Meanwhile EmojiVOC needs no "
    "network: --data emojivoc, in Python emojivoc.prepare()"
)


@dataclass(frozen=True)
class Archive(transfer.RemoteFile):
    """A tar archive of a dataset in VOC layout, and what is wanted of it.

    Parameters
    ----------
    name : str
        Of the file.
    urls : tuple of str
        Its addresses.
    size : int
        Bytes.
    md5 : str
        Hexadecimal.
    folder : str
        The folder inside that holds the dataset.
    lists : tuple of (str, int)
        The lists in ``ImageSets/Segmentation``, and how many pictures each names at the least.
    unpacked : int
        How many bytes the pairs take on the disk, at most.
    """

    folder: str
    lists: tuple[tuple[str, int], ...]
    unpacked: int


def voc2012() -> Archive:
    """Describe the archive of VOC 2012.

    Returns
    -------
    Archive
        Its first address is torchvision's, because a newer torchvision knows when the host has moved.
    """
    return Archive(
        name="VOCtrainval_11-May-2012.tar",
        urls=(_torchvision_url(), *_MIRRORS),
        size=1_999_639_040,
        md5="6cd6e144f989b92b3379bac3b3de84fd",
        folder="VOCdevkit/VOC2012",
        lists=(("train", 1464), ("val", 1449), ("trainval", 2913)),
        unpacked=500_000_000,  # a quarter of the archive, for a sixth of its photographs and the masks
    )


def _torchvision_url() -> str:
    """Ask torchvision for the address; its table is no promise, so it may be gone."""
    try:
        from torchvision.datasets.voc import DATASET_YEAR_DICT

        return DATASET_YEAR_DICT["2012"]["url"]
    except (ImportError, LookupError):
        return _URL


def install(
    archive: Archive,
    root: str | os.PathLike,
    source: str | os.PathLike | None = None,
    mirrors: Sequence[str] = (),
    patience: transfer.Patience = transfer.PATIENCE,
) -> Path:
    """Put a dataset into place, unless it is there already.

    Safe to be called twice, after a crash, and by several processes at once: the others wait for the first.

    Parameters
    ----------
    archive : Archive
        What, and from where.
    root : path
        The folder that gets the archive's ``folder``, and the archive itself.
    source : path, optional
        The archive, where it is on this machine already. It stays as it is.
    mirrors : sequence of str
        Addresses to try first. Those in the environment's ``D2LSEG_VOC_MIRRORS`` follow, then the archive's
        own. One that ends in ``/`` is the folder of the file.
    patience : Patience
        How long to try the mirrors.

    Returns
    -------
    Path
        The folder of the dataset, in VOC layout.

    Raises
    ------
    ConnectionError
        If no mirror gave the archive; the next call goes on from what has arrived.
    FileNotFoundError
        If there is no file ``source``.
    ValueError
        If ``source`` is not the archive, a mirror is no address, or the archive would write outside its
        folder.
    RuntimeError
        If the archive lacks a picture.
    OSError
        If the disk is too small or full.
    """
    root = Path(root)
    folder = root / archive.folder
    if is_complete(folder, archive):
        return folder
    archive = replace(archive, urls=_addresses(archive, mirrors))
    if source is not None:
        _check_source(Path(source), archive)
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root / f".{archive.name}.lock"), _full_disk_named(root):
        if not is_complete(folder, archive):  # another process may have been at it
            _check_disk(archive, root, source is not None)
            _unpack(archive, _fetch(archive, root, patience) if source is None else Path(source), folder)
    return folder


def is_complete(folder: str | os.PathLike, archive: Archive) -> bool:
    """Tell whether all that the lists name is there.

    Parameters
    ----------
    folder : path
        In VOC layout; it may hold more, such as all 17,125 photographs.
    archive : Archive
        Which lists it must have, and how long they are.

    Returns
    -------
    bool
        Whether each list is long enough, and each photograph and mask is there and not empty.
    """
    try:
        texts = [read_text(Path(folder) / _list_path(name)) for name, _ in archive.lists]
        paths = _pairs(archive, texts)
        return all(os.path.getsize(Path(folder) / path) > 0 for path in paths)
    except (OSError, ValueError):
        return False


def _list_path(name: str) -> str:
    return f"ImageSets/Segmentation/{name}.txt"


def _pairs(archive: Archive, texts: Sequence[str]) -> list[str]:
    """Read the lists: give the files that they name, inside the folder."""
    ids: dict[str, None] = {}  # in order, each once
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
    """Join the user's mirrors and the archive's, each once."""
    urls = [*mirrors, *os.environ.get(MIRRORS_SETTING, "").split(), *archive.urls]
    for url in urls:
        if not re.match(r"https?://[^/]", url):
            raise ValueError(
                f"mirror {url!r}: expected an address that begins with http:// or https://; a file on this "
                "machine is given with --from FILE, in Python with source=FILE"
            )
    return tuple(dict.fromkeys(url + archive.name if url.endswith("/") else url for url in urls))


def _check_source(path: Path, archive: Archive) -> None:
    """Refuse a file that is not the archive."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a copy of {archive.name}")
    wrong = transfer.fault(path, archive)
    if wrong is not None:
        raise ValueError(
            f"{path}: not {archive.name}, or cut short ({wrong}). Fetch it again, or leave --from away and "
            "have it downloaded"
        )


def _check_disk(archive: Archive, root: Path, given: bool) -> None:
    """Refuse to start on a disk that is too small."""
    path = root / archive.name
    have = max([p.stat().st_size for p in (path, transfer.partial(path)) if p.is_file()], default=0)
    missing = 0 if given else max(0, archive.size - have)
    needed, free = missing + archive.unpacked, shutil.disk_usage(root).free
    if free < needed:
        raise OSError(
            f"{root} has {free / 1e6:,.0f} MB free, and {needed / 1e6:,.0f} MB are needed "
            f"({missing / 1e6:,.0f} to download, {archive.unpacked / 1e6:,.0f} to unpack): free some "
            "space, or choose a folder on another disk with --out DIR or the environment's D2LSEG_DATA"
        )


@contextmanager
def _full_disk_named(root: Path) -> Iterator[None]:
    """Say what to do when the disk gets full on the way."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"{root}: the disk is full. Free some space and call this again: it goes on from what has been "
            "downloaded; or choose a folder on another disk with --out DIR or the environment's D2LSEG_DATA"
        ) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process in at a time; the system itself frees the lock of one that was killed."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tqdm.write(f"another process is at work in {path.parent}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(archive: Archive, root: Path, patience: transfer.Patience) -> Path:
    """Download the archive, or say how to go on without the network."""
    try:
        return transfer.fetch(archive, root, patience)
    except ConnectionError as error:
        raise ConnectionError(f"{error}. {_ADVICE}") from error


def _unpack(archive: Archive, path: Path, folder: Path) -> None:
    """Unpack what is wanted beside the folder, look whether all of it is there, and rename it."""
    draft = folder.with_name(f".{folder.name}.part")
    if draft.exists():  # a killed run has left it
        shutil.rmtree(draft)
    try:
        _extract(archive, path, draft)
        if not is_complete(draft, archive):
            raise RuntimeError(f"{path}: a file in it is empty; expected {archive.name} as published")
        _set_aside(folder)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _extract(archive: Archive, path: Path, draft: Path) -> None:
    """Write the lists, and the photographs and masks that they name, below a folder."""
    with tarfile.open(path, "r:") as tar:
        members = {str(PurePosixPath(member.name)): member for member in tar if _is_file(member, path)}
        lists = [_list_path(name) for name, _ in archive.lists]
        _check_members(archive, path, members, lists)
        texts = [tar.extractfile(members[f"{archive.folder}/{name}"]).read().decode() for name in lists]
        wanted = [*lists, *_pairs(archive, texts)]
        _check_members(archive, path, members, wanted)
        # in the order of the archive, so that the disk reads it from front to back
        wanted.sort(key=lambda name: members[f"{archive.folder}/{name}"].offset)
        for name in tqdm(wanted, desc=f"unpacking {archive.folder}", unit="file", leave=False):
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with tar.extractfile(members[f"{archive.folder}/{name}"]) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file)


def _is_file(member: tarfile.TarInfo, path: Path) -> bool:
    """Tell files from folders; refuse what would land outside the folder, or point there."""
    place = PurePosixPath(member.name)
    inside = not place.is_absolute() and ".." not in place.parts and not re.search(r"[\\:]", member.name)
    if not inside or not (member.isfile() or member.isdir()):
        raise ValueError(
            f"{path}: its member {member.name!r} is a link, a device or outside the folder; nothing was "
            "unpacked. This is not the archive as published: fetch it from another place"
        )
    return member.isfile()


def _check_members(archive: Archive, path: Path, members: dict, wanted: Sequence[str]) -> None:
    """Refuse an archive with gaps."""
    missing = [name for name in wanted if f"{archive.folder}/{name}" not in members]
    if missing:
        raise RuntimeError(
            f"{path}: incomplete, it lacks {len(missing)} of {len(wanted)} files, the first is "
            f"{archive.folder}/{missing[0]}; expected {archive.name} as published"
        )


def _set_aside(folder: Path) -> None:
    """Rename what is in the way, because it may be somebody's own work."""
    if not os.path.lexists(folder):
        return
    count, aside = 1, folder.with_name(f"{folder.name}-incomplete")
    while os.path.lexists(aside):
        count += 1
        aside = folder.with_name(f"{folder.name}-incomplete-{count}")
    folder.rename(aside)
    tqdm.write(f"{folder} was incomplete; it is now {aside}, and can be deleted if nothing in it is yours")
