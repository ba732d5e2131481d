"""A folder in Pascal VOC's layout: the paths of its files, and the checks of its lists.

``JPEGImages/ID.jpg``, ``SegmentationClass/ID.png``, and lists with one ID a line in
``ImageSets/Segmentation/NAME.txt``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath

from tqdm.auto import tqdm

from .files import check_file, in_words, read_text

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MASK_SUFFIX = ".png"
_ADVICE = (
    "expected a folder in VOC layout: JPEGImages/ID.jpg, SegmentationClass/ID.png and lists of IDs in "
    "ImageSets/Segmentation/. emojivoc.prepare() draws one, voc.download() fetches VOC 2012"
)


def list_path(voc_dir: str | Path, split: str) -> Path:
    """Return the path of the list of IDs named `split`."""
    return Path(voc_dir) / "ImageSets" / "Segmentation" / f"{split}.txt"


def pair_paths(voc_dir: str | Path, name: str) -> tuple[Path, Path]:
    """Return the paths of image and mask; of several image files, the first suffix in `IMAGE_SUFFIXES`."""
    return (
        _existing(Path(voc_dir) / "JPEGImages", file_names_of(name, IMAGE_SUFFIXES)),
        _existing(Path(voc_dir) / "SegmentationClass", file_names_of(name, (MASK_SUFFIX,))),
    )


def file_names_of(name: str, suffixes: Sequence[str]) -> Iterator[str]:
    """Yield the file names that an ID may have: each suffix as it is, in capitals, or with one capital."""
    for spell in (str.lower, str.upper, lambda suffix: f".{suffix[1:].capitalize()}"):
        for suffix in suffixes:
            yield name + spell(suffix)


def _existing(folder: Path, names: Iterable[str]) -> Path:
    """Return the first that is a file, or else whatever has the name, so that an error can say what it is."""
    paths = [folder / name for name in names]
    return next(filter(os.path.isfile, paths), None) or next(filter(os.path.lexists, paths), paths[0])


def read_ids(voc_dir: str | Path, split: str) -> list[str]:
    """Read a list of IDs; ``"trainval"`` joins train and val if the folder has no list of that name.

    Raises
    ------
    FileNotFoundError
        If there is no such list.
    ValueError
        If it is empty, is not text, or one of its lines cannot be the name of an image.
    """
    path = list_path(voc_dir, split)
    if split == "trainval" and not os.path.lexists(path):
        return read_ids(voc_dir, "train") + read_ids(voc_dir, "val")
    ids = [line.strip() for line in read_text(path, "list", _ADVICE).splitlines() if line.strip()]
    if not ids:
        raise ValueError(f"{path}: the list is empty; expected one ID a line, such as 2007_000032")
    for name in ids:
        # no ID may lead out of the folder, on any system, or control the terminal that it is printed on
        if PureWindowsPath(name).name != name or any(c < " " or c == "\x7f" for c in name):
            raise ValueError(
                f"{path}: {name[:80]!r} is not an ID; expected the name of an image in JPEGImages, without "
                "folder or suffix. Fix this line"
            )
    return ids


def file_names(folder: str | Path) -> set[str]:
    """Return the names in a folder; an empty set if there is no such folder."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise in_words(error, folder, "folder", _ADVICE) from error


def check_present(voc_dir: str | Path, split: str, ids: Iterable[str]) -> None:
    """Raise a FileNotFoundError for the first ID of a list without an image or a mask."""
    # one look into each folder: asking for each file would take longer than reading the first batch
    images, masks = (file_names(Path(voc_dir) / part) for part in ("JPEGImages", "SegmentationClass"))
    for name in ids:
        has_image = not images.isdisjoint(file_names_of(name, IMAGE_SUFFIXES))
        if not has_image or masks.isdisjoint(file_names_of(name, (MASK_SUFFIX,))):
            path = pair_paths(voc_dir, name)[has_image]
            raise FileNotFoundError(
                f"{path}: missing, but {split!r} lists it; put it there, or take it off the list. "
                f"python -m d2lseg doctor {voc_dir} finds all that are missing"
            )


def check_listed(split: str, *paths: Path) -> None:
    """Raise unless the paths of an ID on the list `split` are files; a pipe would block the reader."""
    for path in paths:
        if not os.path.isfile(path):  # the reader itself finds what is wrong with a file
            check_file(path, "image", f"{split!r} lists it: put it there, or take it off the list")


def unreadable(
    names: Iterable[str], read: Callable[[str], object], title: str, progress: bool | None = None
) -> dict[str, str]:
    """Call `read` with each name, and return what is wrong with those for which it fails.

    `title` stands beside the progress bar, which is shown if the output is a terminal, or as `progress` says.
    """
    bad, hidden = {}, None if progress is None else not progress
    for name in tqdm(dict.fromkeys(names), desc=title, disable=hidden):
        try:
            read(name)
        except MemoryError:
            bad[name] = f"{name}: too large for the memory, the image or its mask; make them smaller"
        except (ValueError, OSError) as error:
            bad[name] = str(error)
    return bad


def without(
    ids: Sequence[str], bad: Mapping[str, str], voc_dir: str | Path, split: str
) -> tuple[list[str], dict[str, str]]:
    """Split the IDs of a list into those to use, and those in `bad` with what is wrong with them.

    Raises
    ------
    ValueError
        If none is left to use.
    """
    skipped = {name: bad[name] for name in dict.fromkeys(ids) if name in bad}
    kept = [name for name in ids if name not in skipped]
    if not kept:
        first = next(iter(skipped.values()))
        raise ValueError(
            f"{voc_dir}: no image of {split!r} can be used, the first: {first}. See all with: python -m "
            f"d2lseg doctor {voc_dir}"
        )
    return kept, skipped
