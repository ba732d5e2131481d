"""Files that appear whole or not at all, and small text files."""

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


def data_dir() -> Path:
    """Return the folder for datasets and checkpoints, created if needed.

    It is the environment's ``D2LSEG_DATA`` if that is set, ``data/`` in a checkout of the course, and
    ``~/.cache/d2lseg`` anywhere else (Colab, pip install).
    """
    checkout = Path(__file__).resolve().parents[2]
    if os.environ.get("D2LSEG_DATA"):
        folder = Path(os.environ["D2LSEG_DATA"]).expanduser()
    elif (checkout / "pyproject.toml").is_file() and (checkout / "notebooks").is_dir():
        folder = checkout / "data"
    else:
        folder = Path.home() / ".cache" / "d2lseg"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place only when the block ends without an error.

    Parameters
    ----------
    path : path
        The file; an older one stays until the new one is complete. Its folder is made where it is missing.

    Yields
    ------
    binary file
        A draft beside the file, removed where the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # renamed when complete, so that a crash never leaves half a file; always under the same name, so that
    # drafts of killed runs do not pile up
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # on the disk before the rename is, or a power cut could leave it empty
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def folder_written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Build a folder that takes its place only when the block ends without an error.

    Parameters
    ----------
    path : path
        The folder. What is in its place already has to be gone when the block ends.

    Yields
    ------
    Path
        A draft beside it, empty; removed where the block fails.

    Raises
    ------
    FileExistsError
        If something is in its place when the block ends.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # a killed run with the same process number may have left one
    draft.mkdir(parents=True)
    try:
        yield draft
        if os.path.lexists(path):  # rename would put the draft in place of an empty folder, without a word
            raise FileExistsError(f"{path}: there already; choose another folder, or remove this one")
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_file(path: str | os.PathLike, what: str = "file", advice: str = "check the path") -> None:
    """Raise unless `path` is a readable file, and say why.

    Parameters
    ----------
    path : path
        What is going to be read.
    what : str
        What it should be, for the error where there is nothing.
    advice : str
        What to do then.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    PermissionError
        If this user may not read it.
    ValueError
        If it is a folder, a pipe or a device, if its links lead in a circle, or its name cannot be a file's.
    OSError
        If the system has another reason, such as a broken disk.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):  # to open a pipe would wait for somebody to write into it
            with open(path, "rb"):
                return
    except (OSError, ValueError) as error:
        raise in_words(error, path, what, advice) from error
    found = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
    raise ValueError(f"{path}: {found}, not the {what} itself. Give the path of the file, or move this away")


def in_words(error: Exception, path: str | os.PathLike, what: str, advice: str) -> Exception:
    """Turn what the system says of a file into an error that names it and says what to do.

    Parameters
    ----------
    error : Exception
        An OSError, or the ValueError of a name that no file can have.
    path : path
        The file or folder.
    what : str
        What it should be.
    advice : str
        What to do where there is nothing.

    Returns
    -------
    Exception
        To be raised.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return FileNotFoundError(f"{path}: no such {what}; {advice}")
    if isinstance(error, PermissionError):
        return PermissionError(f"{path}: this user may not read it; allow it (chmod +r), or copy the {what}")
    code = getattr(error, "errno", None)
    if code == errno.ELOOP:
        return ValueError(f"{path}: its symbolic links lead in a circle; put the {what} itself in its place")
    if code == errno.ENAMETOOLONG or not isinstance(error, OSError):
        name = repr(os.path.basename(path)[:40])  # it may hold what cannot be printed
        return ValueError(f"{name}...: not a possible file name ({error.args[-1]}); rename the {what}")
    return OSError(f"{path}: cannot be read ({error.strerror or error}); check the disk, and copy the {what}")


def read_text(path: str | os.PathLike, what: str = "file", advice: str = "check the path") -> str:
    """Read a small text file, such as a list of names.

    Parameters
    ----------
    path : path
        UTF-8. A byte-order mark at its beginning, which Windows writes, is left out.
    what, advice : str
        As in `check_file`.

    Returns
    -------
    str
        Its content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not UTF-8, or no file, as `check_file` says.
    """
    check_file(path, what, advice)
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error}); save it as UTF-8") from error


def write_csv(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows to a CSV file.

    Parameters
    ----------
    path : path
        The file, written whole or not at all; its first line names the columns.
    rows : sequence of mapping
        At least one, all with the same keys.

    Returns
    -------
    Path
        The file written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with written_whole(path) as file:
        file.write(text.getvalue().encode())
    return Path(path)


def write_json(path: str | os.PathLike, content: Any) -> Path:
    """Write plain values to a JSON file.

    Parameters
    ----------
    path : path
        The file, written whole or not at all.
    content : object
        Numbers, strings, lists and dicts; no NaN, which JSON does not have.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        If there is a NaN or an infinite number in it.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with written_whole(path) as file:
        file.write(f"{text}\n".encode())
    return Path(path)
