"""Files that appear whole or not at all, and small text files."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


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


def read_text(path: str | os.PathLike) -> str:
    """Read a small text file, such as a list of names.

    Parameters
    ----------
    path : path
        UTF-8. A byte-order mark at its beginning, which Windows writes, is left out.

    Returns
    -------
    str
        Its content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return path.read_text(encoding="utf-8-sig")
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
