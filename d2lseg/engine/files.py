"""Write files and folders whole or not at all, and read small text files."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a path whose first part, if it is ``~``, is replaced by the user's home folder."""
    path = Path(path)
    return path.expanduser() if path.parts[:1] == ("~",) else path  # "~scan.png" is a file, not a user's home


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Name the place, and a way out, where something cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise PermissionError(
            f"{path}: cannot be written here ({error.strerror}); choose another folder. For the course's own "
            "data and checkpoints, set the environment variable D2LSEG_DATA to a folder of yours"
        ) from error


def make_folder(path: Path) -> None:
    """Create a folder, and those above it, if they are not there."""
    with _writable(path):
        path.mkdir(parents=True, exist_ok=True)


def data_dir() -> Path:
    """Return the folder for datasets and checkpoints, created if needed.

    It is the environment's ``D2LSEG_DATA`` if that is set, ``data/`` in a checkout of the course, and
    ``~/.cache/d2lseg`` anywhere else (Colab, pip install).
    """
    checkout = Path(__file__).resolve().parents[2]
    if os.environ.get("D2LSEG_DATA"):
        folder = user_path(os.environ["D2LSEG_DATA"])
    elif (checkout / "pyproject.toml").is_file() and (checkout / "notebooks").is_dir():
        folder = checkout / "data"
    else:
        folder = Path.home() / ".cache" / "d2lseg"
    make_folder(folder)
    return folder


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file that takes its place only if the block succeeds; an older one stays until then."""
    path = user_path(path)
    # a fixed name, so that the drafts of killed runs do not pile up
    draft = path.with_name(f".{path.name}.part")
    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = draft.open("wb")
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut after the rename could leave an empty file
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def folder_written_whole(path: str | os.PathLike[str], locked: bool = False) -> Iterator[Path]:
    """Fill a draft folder that takes its place at `path` only if the block succeeds.

    Parameters
    ----------
    path : path
        The folder. Anything already there must be out of the way when the block ends.
    locked : bool
        Set this if a lock keeps other processes away: the draft then has a fixed name, so the next run
        clears what a killed one left. Otherwise each process has its own draft.

    Raises
    ------
    FileExistsError
        If there is something at `path` when the block ends.
    """
    path = user_path(path)
    draft = path.with_name(f".{path.name}.part" if locked else f".{path.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # from a killed run, which may have had our process ID
    with _writable(path):
        draft.mkdir(parents=True)
    try:
        yield draft
        check_free(path)  # rename would silently replace an empty folder
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_free(path: str | os.PathLike[str]) -> None:
    """Raise FileExistsError if there is anything at `path`, even a broken link."""
    if os.path.lexists(path):
        raise FileExistsError(f"{path}: already exists; choose another folder, or remove this one")


def check_file(path: str | os.PathLike[str], what: str = "file", advice: str = "check the path") -> None:
    """Raise unless `path` is a readable file.

    Parameters
    ----------
    what, advice : str
        What the file should be, and what to do if it is missing; for the error message.

    Raises
    ------
    FileNotFoundError, PermissionError, OSError
        As the system reports them, see `in_words`.
    ValueError
        If it is a folder, a pipe or a device, a link to itself, or not a valid file name.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):  # opening a pipe would wait for a writer
            with open(path, "rb"):
                return
    except (OSError, ValueError) as error:
        raise in_words(error, path, what, advice) from error
    found = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
    raise ValueError(f"{path}: {found}, not the {what} itself. Give the path of the file, or move this away")


def in_words(error: OSError | ValueError, path: str | os.PathLike[str], what: str, advice: str) -> Exception:
    """Turn an error from opening `path` into one that names it and says what to do.

    `what` and `advice` are as for `check_file`. A ValueError comes from a name with a null character.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return FileNotFoundError(f"{path}: no such {what}; {advice}")
    if isinstance(error, PermissionError):
        return PermissionError(f"{path}: permission denied; make it readable (chmod +r), or ask its owner to")
    if not isinstance(error, OSError) or error.errno == errno.ENAMETOOLONG:
        name = repr(os.path.basename(path)[:40])  # quoted, as it may contain control characters
        return ValueError(f"{name}...: not a possible file name ({error.args[-1]}); rename the {what}")
    if error.errno == errno.ELOOP:
        return ValueError(f"{path}: a symbolic link that leads back to itself; replace it with the {what}")
    return OSError(
        f"{path}: cannot be read ({error.strerror or error}); check the disk, or copy the {what} again"
    )


def read_text(path: str | os.PathLike[str], what: str = "file", advice: str = "check the path") -> str:
    """Read a small UTF-8 text file, without the byte-order mark that Windows may put first.

    It takes and raises what `check_file` does, and raises ValueError if the file is not UTF-8.
    """
    path = user_path(path)
    check_file(path, what, advice)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error}); save it as UTF-8") from error


def write_csv(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows, at least one, to a CSV file with a column for each key; what a row lacks stays empty."""
    text = io.StringIO(newline="")
    keys = dict.fromkeys(key for row in rows for key in row)  # each once, in order
    writer = csv.DictWriter(text, fieldnames=list(keys), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with written_whole(path) as file:
        file.write(text.getvalue().encode())
    return user_path(path)


def read_csv(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Read the rows that `write_csv` wrote, every value as text; without such a file there are none."""
    path = user_path(path)
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write plain values to a JSON file; NaN and infinity, which JSON lacks, raise ValueError."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with written_whole(path) as file:
        file.write(f"{text}\n".encode())
    return user_path(path)
